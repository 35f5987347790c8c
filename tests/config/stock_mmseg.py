"""Segmentors' configs as mmseg 1.x has them."""

from __future__ import annotations

from typing import Any

from tests.config.stock import BACKEND, PIXELS, SIDE, Node, fpn, loader, runtime

SYNC = {"type": "SyncBN", "requires_grad": True}


def mmseg(backbone: Node, head: Node, auxiliary: Node | None = None) -> Node:
    """A segmentor's config on ADE20K: data, schedule and runtime as mmseg's ``_base_`` has them."""
    image, labels = {"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "reduce_zero_label": True}
    ade = {
        "type": "ADE20KDataset",
        "data_root": "demo",
        "data_prefix": {"img_path": "images", "seg_map_path": "annotations/semantic"},
    }
    training = [
        image,
        labels,
        {"type": "RandomResize", "scale": (256, 64), "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": SIDE, "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]
    testing = [image, {"type": "Resize", "scale": (256, 64), "keep_ratio": True}, labels, {"type": "PackSegInputs"}]
    views = [[{"type": "Resize", "scale_factor": r, "keep_ratio": True} for r in (0.5, 1.0)]]
    views += [[{"type": "RandomFlip", "prob": p, "direction": "horizontal"} for p in (0.0, 1.0)]]
    views += [[{"type": "LoadAnnotations"}], [{"type": "PackSegInputs"}]]
    tests = loader({**ade, "pipeline": testing}, False)
    hook = {"type": "CheckpointHook", "by_epoch": False, "interval": 8000}
    config = {
        **runtime("mmseg", False, checkpoint=hook),
        "model": {
            "type": "EncoderDecoder",
            "data_preprocessor": {
                "type": "SegDataPreProcessor",
                **PIXELS,
                "pad_val": 0,
                "seg_pad_val": 255,
                "size": SIDE,
            },
            "pretrained": None,
            "backbone": backbone,
            "decode_head": head,
            "auxiliary_head": auxiliary,
            "train_cfg": {},
            "test_cfg": {"mode": "whole"},
        },
        "train_dataloader": loader({**ade, "pipeline": training}, True),
        "val_dataloader": tests,
        "test_dataloader": tests,
        "val_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
        "test_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 80000, "val_interval": 8000},
        "param_scheduler": [
            {"type": "PolyLR", "eta_min": 1e-4, "power": 0.9, "begin": 0, "end": 80000, "by_epoch": False}
        ],
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005},
            "clip_grad": None,
        },
        "tta_model": {"type": "SegTTAModel"},
        "tta_pipeline": [{"type": "LoadImageFromFile", **BACKEND}, {"type": "TestTimeAug", "transforms": views}],
    }
    config["train_dataloader"]["sampler"] = {"type": "InfiniteSampler", "shuffle": True}
    return config


def resnet_v1c(dilated: bool = True) -> Node:
    return {
        "type": "ResNetV1c",
        "depth": 50,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "dilations": (1, 1, 2, 4) if dilated else (1, 1, 1, 1),
        "strides": (1, 2, 1, 1) if dilated else (1, 2, 2, 2),
        "norm_cfg": SYNC,
        "norm_eval": False,
        "style": "pytorch",
        "contract_dilation": True,
    }


def seg_head(kind: str, weight: float = 1.0, **more: Any) -> Node:
    return {
        "type": kind,
        "dropout_ratio": 0.1,
        "num_classes": 150,
        "norm_cfg": SYNC,
        "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": weight},
        **more,
    }


def auxiliary() -> Node:
    part = {"in_channels": 1024, "in_index": 2, "channels": 256, "num_convs": 1, "concat_input": False}
    return seg_head("FCNHead", 0.4, **part)


def fcn() -> Node:
    last = {"in_channels": 2048, "in_index": 3, "channels": 512, "num_convs": 2, "concat_input": True}
    return mmseg(resnet_v1c(), seg_head("FCNHead", **last), auxiliary())


def pspnet() -> Node:
    last = {"in_channels": 2048, "in_index": 3, "channels": 512, "pool_scales": (1, 2, 3, 6)}
    return mmseg(resnet_v1c(), seg_head("PSPHead", **last), auxiliary())


def deeplabv3plus() -> Node:
    last = {"in_channels": 2048, "in_index": 3, "channels": 512, "dilations": (1, 12, 24, 36)}
    head = seg_head("DepthwiseSeparableASPPHead", c1_in_channels=256, c1_channels=48, **last)
    return mmseg(resnet_v1c(), head, auxiliary())


def upernet() -> Node:
    every = {"in_channels": [256, 512, 1024, 2048], "in_index": [0, 1, 2, 3], "channels": 512}
    return mmseg(resnet_v1c(dilated=False), seg_head("UPerHead", pool_scales=(1, 2, 3, 6), **every), auxiliary())


def sem_fpn() -> Node:
    head = seg_head("FPNHead", in_channels=[256] * 4, in_index=[0, 1, 2, 3], channels=128)
    config = mmseg(resnet_v1c(dilated=False), {**head, "feature_strides": [4, 8, 16, 32]})
    config["model"]["neck"] = {**fpn(), "num_outs": 4}
    return config


def segformer() -> Node:
    backbone = {
        "type": "MixVisionTransformer",
        "in_channels": 3,
        "embed_dims": 32,
        "num_stages": 4,
        "num_layers": [2, 2, 2, 2],
        "num_heads": [1, 2, 5, 8],
        "patch_sizes": [7, 3, 3, 3],
        "sr_ratios": [8, 4, 2, 1],
        "out_indices": (0, 1, 2, 3),
        "mlp_ratio": 4,
        "qkv_bias": True,
        "drop_rate": 0.0,
        "attn_drop_rate": 0.0,
        "drop_path_rate": 0.1,
        "init_cfg": {"type": "Pretrained", "checkpoint": "https://example.org/mit_b0.pth"},
    }
    every = {"in_channels": [32, 64, 160, 256], "in_index": [0, 1, 2, 3], "channels": 256}
    config = mmseg(backbone, seg_head("SegformerHead", **every))
    free = {name: {"decay_mult": 0.0} for name in ("pos_block", "norm")}
    config["optim_wrapper"] = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 0.00006, "betas": (0.9, 0.999), "weight_decay": 0.01},
        "paramwise_cfg": {"custom_keys": {**free, "head": {"lr_mult": 10.0}}},
    }
    return config
