"""kMaX-DeepLab with ConvNeXt-Small on COCO's panoptic maps, 150k iterations (arXiv:2207.04044).

    python tools/train.py configs/kmax_deeplab/kmax-deeplab_convnext-s_8xb8-150k_coco-panoptic.py --launcher pytorch

Eight GPUs, eight images each, mixed precision. The official repository reports PQ 56.7, and its files load. Numbers:
configs/coco/panoptic_segmentation/kmax_convnext_small.yaml of bytedance/kmax-deeplab.
"""

_base_ = ["kmax-deeplab_convnext-t_8xb8-150k_coco-panoptic.py"]

model = dict(
    backbone=dict(
        arch="small",
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_small_22k_1k_384.pth"),
    ),
)
