"""BTS with DenseNet-161 on KITTI, Eigen's split, 50 epochs (arXiv:1907.10326).

    python tools/train.py configs/bts/bts_densenet161_4xb4-50e_kitti-eigen-352x704.py --launcher pytorch

Four GPUs, four images each. The authors report delta < 1.25 of 0.955, AbsRel 0.060 and RMSE 2.798 up to 80 m.
Numbers: pytorch/arguments_train_eigen.txt of cleinc/bts, whose lists stand in data/kitti.
"""

_base_ = "./bts_densenet161_4xb4-50e_nyu-416x544.py"

load = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadDepthAnnotation", depth_rescale_factor=1 / 256),
    dict(type="DepthCrop", kind="kb"),
]
folders = dict(
    data_root="data/kitti",
    data_prefix=dict(img_path=".", depth_map_path="data_depth_annotated"),
)
train_dataloader = dict(
    dataset=dict(
        **folders,
        ann_file="eigen_train_files_with_gt.txt",
        pipeline=[
            *load,
            dict(
                type="RandomAffine",
                max_rotate_degree=1.0,
                max_translate_ratio=0.0,
                scaling_ratio_range=(1.0, 1.0),
                max_shear_degree=0.0,
                border_val=(0, 0, 0),
            ),
            dict(type="RandomCrop", crop_size=(352, 704)),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="Albu",
                transforms=[
                    dict(type="RandomGamma", gamma_limit=(90, 110), p=0.5),
                    dict(type="MultiplicativeNoise", multiplier=(0.9, 1.1), p=0.5),
                    dict(type="MultiplicativeNoise", multiplier=(0.9, 1.1), per_channel=True, p=0.5),
                ],
            ),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(**folders, ann_file="eigen_test_files_with_gt.txt", pipeline=[*load, dict(type="PackInputs")])
)
test_dataloader = val_dataloader
val_evaluator = dict(max_depth_eval=80.0, crop_type="garg_crop")
test_evaluator = val_evaluator
model = dict(decode_head=dict(max_depth=80.0, min_depth=1.0, reference_focal=715.0873))
