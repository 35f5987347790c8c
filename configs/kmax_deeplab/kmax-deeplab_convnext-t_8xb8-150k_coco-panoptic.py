"""kMaX-DeepLab with ConvNeXt-Tiny on COCO's panoptic maps, 150k iterations (arXiv:2207.04044).

    python tools/train.py configs/kmax_deeplab/kmax-deeplab_convnext-t_8xb8-150k_coco-panoptic.py --launcher pytorch

Eight GPUs, eight images each, mixed precision. The official repository reports PQ 55.5, and its files load. Numbers:
configs/coco/panoptic_segmentation/kmax_convnext_tiny.yaml of bytedance/kmax-deeplab.
"""

_base_ = ["kmax-deeplab_r50_8xb8-150k_coco-panoptic.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="ConvNeXt",
        arch="tiny",
        drop_path_rate=0.3,
        output_norm=False,
        pad_downsampling=True,
        init_cfg=dict(
            type="Pretrained", checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_tiny_22k_1k_384.pth"
        ),
    ),
    panoptic_head=dict(in_channels=(96, 192, 384, 768)),
)
