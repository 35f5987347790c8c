"""Mamba-YOLO-L on COCO, 300 epochs (arXiv:2406.05835); the official repository reports box AP 52.1.

python tools/train.py configs/mamba_yolo/mamba_yolo_l_8xb64-300e_coco.py --launcher pytorch --amp
"""

_base_ = "./mamba_yolo_t_8xb64-300e_coco.py"

model = dict(
    backbone=dict(arch="l"),
    neck=dict(num_scans=2),
)
