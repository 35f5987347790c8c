"""kMaX-DeepLab with ConvNeXt-Base on COCO's panoptic maps, 150k iterations (arXiv:2207.04044).

    python tools/train.py configs/kmax_deeplab/kmax-deeplab_convnext-b_8xb8-150k_coco-panoptic.py --launcher pytorch

Eight GPUs, eight images each, mixed precision. The official repository reports PQ 57.2, and its files load. Numbers:
configs/coco/panoptic_segmentation/kmax_convnext_base.yaml of bytedance/kmax-deeplab.
"""

_base_ = ["kmax-deeplab_convnext-t_8xb8-150k_coco-panoptic.py"]

model = dict(
    backbone=dict(
        arch="base",
        drop_path_rate=0.5,
        init_cfg=dict(checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_1k_384.pth"),
    ),
    panoptic_head=dict(in_channels=(128, 256, 512, 1024)),
)
