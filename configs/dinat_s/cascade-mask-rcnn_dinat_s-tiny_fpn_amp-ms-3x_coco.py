"""Cascade Mask R-CNN with DiNAT_s-Tiny on COCO, 36 epochs at many scales (arXiv:2209.15001).

    python tools/train.py configs/dinat_s/cascade-mask-rcnn_dinat_s-tiny_fpn_amp-ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. The authors report box AP 51.0, mask AP 44.1. Numbers:
detection/configs/dinat_s/cascade_mask_rcnn_dinat_s_tiny_3x_coco.py of SHI-Labs/Neighborhood-Attention-Transformer.
"""

_base_ = "../dinat/cascade-mask-rcnn_dinat-tiny_fpn_amp-ms-3x_coco.py"

weights = "https://shi-labs.com/projects/dinat/checkpoints/imagenet1k/dinat_s_tiny_in1k_224.pth"
model = dict(backbone=dict(type="DiNAT_s", init_cfg=dict(checkpoint=weights)))
