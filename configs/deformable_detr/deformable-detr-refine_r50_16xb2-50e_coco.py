"""Deformable DETR whose decoder layers refine the boxes, with ResNet-50 on COCO, 50 epochs (arXiv:2010.04159).

    python tools/train.py configs/deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco.py --launcher pytorch

Sixteen GPUs, two images each. mmdet reports box AP 46.2. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = "./deformable-detr_r50_16xb2-50e_coco.py"

model = dict(with_box_refine=True)
