"""Configs in the words of mmdet 3.x and mmseg 1.x train and validate as they are; only data and sizes are given anew.

Each is put together here from the parts that their ``_base_`` folders have, with their keys, and written to a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foveal.config import load_config
from foveal.engine.launch import train
from foveal.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent
ANN_FILE = "demo/annotations/instances.json"
BACKEND: dict[str, Any] = {"backend_args": None}
PIXELS = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}
SIDE = (64, 64)
Node = dict[str, Any]


def runtime(scope: str, by_epoch: bool, **hooks: Node) -> Node:
    kind = {"mmdet": "Det", "mmseg": "Seg"}[scope]
    return {
        "default_scope": scope,
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": 50},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {"type": "CheckpointHook", "interval": 1, "by_epoch": by_epoch},
            "sampler_seed": {"type": "DistSamplerSeedHook"},
            "visualization": {"type": f"{kind}VisualizationHook"},
            **hooks,
        },
        "env_cfg": {
            "cudnn_benchmark": False,
            "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0},
            "dist_cfg": {"backend": "nccl"},
        },
        "vis_backends": [{"type": "LocalVisBackend"}],
        "visualizer": {
            "type": f"{kind}LocalVisualizer",
            "vis_backends": [{"type": "LocalVisBackend"}],
            "name": "visualizer",
        },
        "log_processor": {"type": "LogProcessor", "window_size": 50, "by_epoch": by_epoch},
        "log_level": "INFO",
        "load_from": None,
        "resume": False,
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
    }


def loader(dataset: Node, shuffle: bool, **more: Any) -> Node:
    return {
        "batch_size": 2 if shuffle else 1,
        "num_workers": 2,
        "persistent_workers": True,
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle},
        "dataset": dataset,
        **more,
    }


def pack(*more: str) -> Node:
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", *more)
    return {"type": "PackDetInputs", "meta_keys": keys}


def mmdet(model: Node, masks: bool = False, train_pipeline: list[Node] | None = None, **more: Any) -> Node:
    """A detector's config on COCO: data, schedule and runtime as mmdet's ``_base_`` has them."""
    image = {"type": "LoadImageFromFile", **BACKEND}
    labels = {"type": "LoadAnnotations", "with_bbox": True, **({"with_mask": True} if masks else {})}
    resize = {"type": "Resize", "scale": SIDE, "keep_ratio": True}
    coco = {"type": "CocoDataset", "data_root": "", "ann_file": ANN_FILE, "data_prefix": {"img": "demo/images/"}}
    training = {
        **coco,
        "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
        "pipeline": train_pipeline or [image, labels, resize, {"type": "RandomFlip", "prob": 0.5}, pack()],
        **BACKEND,
    }
    testing = {**coco, "test_mode": True, "pipeline": [image, resize, labels, pack()], **BACKEND}
    metric = ["bbox", "segm"] if masks else "bbox"
    evaluator = {"type": "CocoMetric", "ann_file": ANN_FILE, "metric": metric, "format_only": False, **BACKEND}
    tests = loader(testing, False, drop_last=False)
    return {
        **runtime("mmdet", True),
        "model": model,
        "train_dataloader": loader(training, True, batch_sampler={"type": "AspectRatioBatchSampler"}),
        "val_dataloader": tests,
        "test_dataloader": tests,
        "val_evaluator": evaluator,
        "test_evaluator": evaluator,
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 12, "val_interval": 1},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500},
            {"type": "MultiStepLR", "begin": 0, "end": 12, "by_epoch": True, "milestones": [8, 11], "gamma": 0.1},
        ],
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0001},
        },
        "auto_scale_lr": {"enable": False, "base_batch_size": 16},
        **more,
    }


def resnet(**more: Any) -> Node:
    return {
        "type": "ResNet",
        "depth": 50,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "frozen_stages": 1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_eval": True,
        "style": "pytorch",
        "init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet50"},
        **more,
    }


def fpn(**more: Any) -> Node:
    wide = {"type": "FPN", "in_channels": [256, 512, 1024, 2048], "out_channels": 256, "num_outs": 5}
    return {**wide, **more}


def detector(kind: str, **parts: Any) -> Node:
    pixels = {"type": "DetDataPreprocessor", **PIXELS, "pad_size_divisor": 32}
    return {"type": kind, "data_preprocessor": pixels, "backbone": resnet(), "neck": fpn(), **parts}


def coder(stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Node:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds)}


def max_iou(pos: float, neg: float, low: float, low_quality: bool) -> Node:
    return {
        "type": "MaxIoUAssigner",
        "pos_iou_thr": pos,
        "neg_iou_thr": neg,
        "min_pos_iou": low,
        "match_low_quality": low_quality,
        "ignore_iof_thr": -1,
    }


DENSE_TEST = {
    "nms_pre": 1000,
    "min_bbox_size": 0,
    "score_thr": 0.05,
    "nms": {"type": "nms", "iou_threshold": 0.5},
    "max_per_img": 100,
}
FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}


def retinanet() -> Node:
    head = {
        "type": "RetinaHead",
        "num_classes": 80,
        "in_channels": 256,
        "stacked_convs": 4,
        "feat_channels": 256,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": 4,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": [8, 16, 32, 64, 128],
        },
        "bbox_coder": coder(),
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    }
    training = {"assigner": max_iou(0.5, 0.4, 0, True), "allowed_border": -1, "pos_weight": -1, "debug": False}
    training["sampler"] = {"type": "PseudoSampler"}
    neck = fpn(start_level=1, add_extra_convs="on_input")
    model = detector("RetinaNet", neck=neck, bbox_head=head, train_cfg=training, test_cfg=DENSE_TEST)
    # its test-time augmentation is part of the file
    views = [[{"type": "Resize", "scale": s, "keep_ratio": True} for s in ((1333, 800), (666, 400))]]
    views += [[{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}]]
    views += [[{"type": "LoadAnnotations", "with_bbox": True}], [pack("flip", "flip_direction")]]
    return mmdet(
        model,
        tta_model={
            "type": "DetTTAModel",
            "tta_cfg": {"nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
        },
        tta_pipeline=[{"type": "LoadImageFromFile", **BACKEND}, {"type": "TestTimeAug", "transforms": views}],
    )


def fcos() -> Node:
    head = {
        "type": "FCOSHead",
        "num_classes": 80,
        "in_channels": 256,
        "stacked_convs": 4,
        "feat_channels": 256,
        "strides": [8, 16, 32, 64, 128],
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "IoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    caffe = {"type": "DetDataPreprocessor", "mean": [102.9801, 115.9465, 122.7717], "std": [1.0, 1.0, 1.0]}
    caffe |= {"bgr_to_rgb": False, "pad_size_divisor": 32}
    config = mmdet(
        detector(
            "FCOS",
            data_preprocessor=caffe,
            backbone=resnet(
                style="caffe",
                norm_cfg={"type": "BN", "requires_grad": False},
                init_cfg={"type": "Pretrained", "checkpoint": "open-mmlab://detectron/resnet50_caffe"},
            ),
            neck=fpn(start_level=1, add_extra_convs="on_output", relu_before_extra_convs=True),
            bbox_head=head,
            test_cfg=DENSE_TEST,
        )
    )
    config["optim_wrapper"] |= {
        "paramwise_cfg": {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0},
        "clip_grad": {"max_norm": 35, "norm_type": 2},
    }
    return config


def atss() -> Node:
    head = {
        "type": "ATSSHead",
        "num_classes": 80,
        "in_channels": 256,
        "stacked_convs": 4,
        "feat_channels": 256,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "ratios": [1.0],
            "octave_base_scale": 8,
            "scales_per_octave": 1,
            "strides": [8, 16, 32, 64, 128],
        },
        "bbox_coder": coder((0.1, 0.1, 0.2, 0.2)),
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    training = {"assigner": {"type": "ATSSAssigner", "topk": 9}, "allowed_border": -1, "pos_weight": -1, "debug": False}
    neck = fpn(start_level=1, add_extra_convs="on_output")
    return mmdet(detector("ATSS", neck=neck, bbox_head=head, train_cfg=training, test_cfg=DENSE_TEST))


def roi_extractor(size: int, strides: tuple[int, ...] = (4, 8, 16, 32)) -> Node:
    layer = {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0}
    return {
        "type": "SingleRoIExtractor",
        "roi_layer": layer,
        "out_channels": 256,
        "featmap_strides": list(strides),
    }


def box_head(stds: tuple[float, ...], agnostic: bool) -> Node:
    return {
        "type": "Shared2FCBBoxHead",
        "in_channels": 256,
        "fc_out_channels": 1024,
        "roi_feat_size": 7,
        "num_classes": 80,
        "bbox_coder": coder(stds),
        "reg_class_agnostic": agnostic,
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0} if agnostic else {"type": "L1Loss", "loss_weight": 1.0},
    }


def sampled(count: int, share: float, assigner: Node, add_gt: bool) -> Node:
    sampler = {"type": "RandomSampler", "num": count, "pos_fraction": share, "neg_pos_ub": -1}
    return {
        "assigner": assigner,
        "sampler": {**sampler, "add_gt_as_proposals": add_gt},
        "pos_weight": -1,
        "debug": False,
    }


def rcnn(masks: bool = False, cascade: bool = False) -> Node:
    """Faster, Mask and Cascade Mask R-CNN."""
    proposals = {"max_per_img": 1000, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}
    rpn = {
        "type": "RPNHead",
        "in_channels": 256,
        "feat_channels": 256,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "scales": [8],
            "ratios": [0.5, 1.0, 2.0],
            "strides": [4, 8, 16, 32, 64],
        },
        "bbox_coder": coder(),
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    }
    first = (0.1, 0.1, 0.2, 0.2)
    roi = {"type": "StandardRoIHead", "bbox_roi_extractor": roi_extractor(7), "bbox_head": box_head(first, False)}
    stages: Any = sampled(512, 0.25, max_iou(0.5, 0.5, 0.5, masks), True) | ({"mask_size": 28} if masks else {})
    if cascade:
        stds = [tuple(s / divisor for s in first) for divisor in (1, 2, 3)]
        roi = {"type": "CascadeRoIHead", "num_stages": 3, "stage_loss_weights": [1, 0.5, 0.25]}
        roi |= {"bbox_roi_extractor": roi_extractor(7), "bbox_head": [box_head(s, True) for s in stds]}
        stages = [sampled(512, 0.25, max_iou(t, t, t, False), True) | {"mask_size": 28} for t in (0.5, 0.6, 0.7)]
    if masks:
        roi["mask_roi_extractor"] = roi_extractor(14)
        roi["mask_head"] = {
            "type": "FCNMaskHead",
            "num_convs": 4,
            "in_channels": 256,
            "conv_out_channels": 256,
            "num_classes": 80,
            "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
        }
    test = {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100}
    model = detector(
        "CascadeRCNN" if cascade else "MaskRCNN" if masks else "FasterRCNN",
        rpn_head=rpn,
        roi_head=roi,
        train_cfg={
            "rpn": sampled(256, 0.5, max_iou(0.7, 0.3, 0.3, True), False) | {"allowed_border": -1},
            "rpn_proposal": {"nms_pre": 2000, **proposals},
            "rcnn": stages,
        },
        test_cfg={
            "rpn": {"nms_pre": 1000, **proposals},
            "rcnn": test | ({"mask_thr_binary": 0.5} if masks else {}),
        },
    )
    if masks:
        model["data_preprocessor"]["pad_mask"] = True
    return mmdet(model, masks)


def mosaic_pipeline(cached: bool) -> list[Node]:
    """From whole images to what YOLOX (uncached, on a MultiImageMixDataset) and RTMDet train on."""
    prefix = "Cached" if cached else ""
    mixing = [{"type": f"{prefix}Mosaic", "img_scale": SIDE, "pad_val": 114.0}]
    if cached:
        resize = {"type": "RandomResize", "scale": (128, 128), "ratio_range": (0.5, 2.0), "keep_ratio": True}
        mixing += [resize, {"type": "RandomCrop", "crop_size": SIDE}]
    else:
        mixing += [{"type": "RandomAffine", "scaling_ratio_range": (0.1, 2), "border": (-32, -32)}]
        mixing += [{"type": "MixUp", "img_scale": SIDE, "ratio_range": (0.8, 1.6), "pad_val": 114.0}]
    last = [{"type": "YOLOXHSVRandomAug"}, {"type": "RandomFlip", "prob": 0.5}]
    if cached:
        last += [{"type": "Pad", "size": SIDE, "pad_val": {"img": (114, 114, 114)}}]
        last += [{"type": "CachedMixUp", "img_scale": SIDE, "ratio_range": (1.0, 1.0), "max_cached_images": 20}]
        return [*mixing, *last, {"type": "PackDetInputs"}]
    gone = {"type": "FilterAnnotations", "min_gt_bbox_wh": (1, 1), "keep_empty": False}
    return [*mixing, *last, gone, {"type": "PackDetInputs"}]


LOADING = [{"type": "LoadImageFromFile", **BACKEND}, {"type": "LoadAnnotations", "with_bbox": True}]


def ema(priority: int, momentum: float) -> Node:
    average = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": momentum, "update_buffers": True}
    return {**average, "priority": priority}


def yolox() -> Node:
    norm = {"norm_cfg": {"type": "BN", "momentum": 0.03, "eps": 0.001}, "act_cfg": {"type": "Swish"}}
    model = {
        "type": "YOLOX",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "pad_size_divisor": 32,
            "batch_augments": [
                {"type": "BatchSyncRandomResize", "random_size_range": (64, 96), "size_divisor": 32, "interval": 10}
            ],
        },
        "backbone": {
            "type": "CSPDarknet",
            "deepen_factor": 0.33,
            "widen_factor": 0.5,
            "out_indices": (2, 3, 4),
            "use_depthwise": False,
            "spp_kernal_sizes": (5, 9, 13),
            **norm,
        },
        "neck": {
            "type": "YOLOXPAFPN",
            "in_channels": [128, 256, 512],
            "out_channels": 128,
            "num_csp_blocks": 1,
            "use_depthwise": False,
            "upsample_cfg": {"scale_factor": 2, "mode": "nearest"},
            **norm,
        },
        "bbox_head": {
            "type": "YOLOXHead",
            "num_classes": 80,
            "in_channels": 128,
            "feat_channels": 128,
            "stacked_convs": 2,
            "strides": (8, 16, 32),
            "use_depthwise": False,
            **norm,
            "loss_bbox": {"type": "IoULoss", "mode": "square", "eps": 1e-16, "reduction": "sum", "loss_weight": 5.0},
            "loss_l1": {"type": "L1Loss", "reduction": "sum", "loss_weight": 1.0},
        },
        "train_cfg": {"assigner": {"type": "SimOTAAssigner", "center_radius": 2.5}},
        "test_cfg": {"score_thr": 0.01, "nms": {"type": "nms", "iou_threshold": 0.65}},
    }
    hooks = [
        {"type": "YOLOXModeSwitchHook", "num_last_epochs": 15, "priority": 48},
        {"type": "SyncNormHook", "priority": 48},
        ema(49, 0.0001),
    ]
    config = mmdet(model, custom_hooks=hooks)
    images = config["train_dataloader"].pop("batch_sampler") and config["train_dataloader"]["dataset"]
    mixed = {"type": "MultiImageMixDataset", "dataset": {**images, "pipeline": LOADING}}
    config["train_dataloader"]["dataset"] = {**mixed, "pipeline": mosaic_pipeline(cached=False)}
    return config


def rtmdet() -> Node:
    norm = {"norm_cfg": {"type": "SyncBN"}, "act_cfg": {"type": "SiLU", "inplace": True}}
    model = {
        "type": "RTMDet",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "mean": [103.53, 116.28, 123.675],
            "std": [57.375, 57.12, 58.395],
            "bgr_to_rgb": False,
            "batch_augments": None,
        },
        "backbone": {
            "type": "CSPNeXt",
            "arch": "P5",
            "expand_ratio": 0.5,
            "deepen_factor": 0.167,
            "widen_factor": 0.375,
            "channel_attention": True,
            "init_cfg": {"type": "Pretrained", "prefix": "backbone.", "checkpoint": "https://example.org/rtmdet.pth"},
            **norm,
        },
        "neck": {
            "type": "CSPNeXtPAFPN",
            "in_channels": [96, 192, 384],
            "out_channels": 96,
            "num_csp_blocks": 1,
            "expand_ratio": 0.5,
            **norm,
        },
        "bbox_head": {
            "type": "RTMDetSepBNHead",
            "num_classes": 80,
            "in_channels": 96,
            "stacked_convs": 2,
            "feat_channels": 96,
            "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
            "bbox_coder": {"type": "DistancePointBBoxCoder"},
            "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
            "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
            "with_objectness": False,
            "exp_on_reg": False,
            "share_conv": True,
            "pred_kernel_size": 1,
            **norm,
        },
        "train_cfg": {
            "assigner": {"type": "DynamicSoftLabelAssigner", "topk": 13},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {**DENSE_TEST, "nms_pre": 30000, "score_thr": 0.001, "max_per_img": 300},
    }
    plain = [{"type": "Resize", "scale": SIDE, "keep_ratio": True}, {"type": "PackDetInputs"}]
    hooks = [
        ema(49, 0.0002),
        {"type": "PipelineSwitchHook", "switch_epoch": 0, "switch_pipeline": [*LOADING, *plain]},
    ]
    config = mmdet(model, train_pipeline=LOADING + mosaic_pipeline(cached=True), custom_hooks=hooks)
    config["train_dataloader"] |= {"batch_sampler": None, "pin_memory": True}
    config["train_cfg"] |= {"dynamic_intervals": [(280, 1)]}
    config["optim_wrapper"] = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 0.004, "weight_decay": 0.05},
        "paramwise_cfg": {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True},
    }
    return config


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


SMALL = {"model.backbone.depth": 18}
NO_WEIGHTS = {"model.backbone.init_cfg": None}
NARROW = [64, 128, 256, 512]
SMALL_DET = {**SMALL, **NO_WEIGHTS, "model.neck.in_channels": NARROW}
LAST = {**SMALL, "model.decode_head.in_channels": 512, "model.auxiliary_head.in_channels": 256}

# config and what --cfg-options gives for a small network without released weights
CONFIGS: dict[str, tuple[Node, Node]] = {
    "retinanet": (retinanet(), SMALL_DET),
    "fcos": (fcos(), SMALL_DET),
    "atss": (atss(), SMALL_DET),
    "faster-rcnn": (rcnn(), SMALL_DET),
    "mask-rcnn": (rcnn(masks=True), SMALL_DET),
    "cascade-mask-rcnn": (rcnn(masks=True, cascade=True), SMALL_DET),
    "yolox": (yolox(), {}),
    "rtmdet": (rtmdet(), NO_WEIGHTS),
    "fcn": (fcn(), LAST),
    "pspnet": (pspnet(), LAST),
    "deeplabv3plus": (deeplabv3plus(), {**LAST, "model.decode_head.c1_in_channels": 64}),
    "upernet": (upernet(), {**LAST, "model.decode_head.in_channels": NARROW}),
    "fpn": (sem_fpn(), {**SMALL, "model.neck.in_channels": NARROW}),
    "segformer": (segformer(), NO_WEIGHTS),
}
SLOW = {"atss", "mask-rcnn", "cascade-mask-rcnn", "pspnet", "deeplabv3plus", "upernet"}


def write(folder: Path, config: Node) -> Path:
    path = folder / "stock.py"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    return path


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CONFIGS])
def test_a_stock_config_trains_and_validates(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config, options = CONFIGS[name]
    detects = config["default_scope"] == "mmdet"
    images = "train_dataloader.dataset" + (".dataset" if name == "yolox" else "")
    options = {
        **options,
        "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 1}
        if detects
        else {"_delete_": True, "type": "IterBasedTrainLoop", "max_iters": 1},
        "param_scheduler": None,
        # two images: one iteration
        f"{images}.indices": [0, 2] if detects else 2,
        **{f"{phase}_dataloader.num_workers": 0 for phase in ("train", "val")},
        **{f"{phase}_dataloader.persistent_workers": False for phase in ("train", "val")},
        "val_dataloader.dataset.indices": 2,
    }
    if name == "yolox":
        # the last epoch is the first one here; that mosaic and mixup run is what is to be seen
        options["custom_hooks.0.num_last_epochs"] = -1
    runner = train(write(tmp_path, config), str(tmp_path / "run"), options=options)
    assert runner.iter == 1
    scalars = runner.message_hub.log_scalars
    assert "train/loss" in scalars
    metrics = {key.removeprefix("val/") for key in scalars if key.startswith("val/")}
    assert ("coco/bbox_mAP" if detects else "mIoU") in metrics
    if name in ("yolox", "rtmdet"):
        averages = [hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")]
        assert type(averages[0]).__name__ == "ExpMomentumEMA"
    if name == "rtmdet":
        kinds = [type(step).__name__ for step in runner.train_dataloader.dataset.pipeline.transforms]
        assert "CachedMosaic" not in kinds


@pytest.mark.parametrize("name", [name for name in CONFIGS if name in SLOW])
def test_a_stock_config_is_read(name: str, tmp_path: Path) -> None:
    assert load_config(write(tmp_path, CONFIGS[name][0])).default_scope == "foveal"


def test_a_remote_file_backend_is_refused(tmp_path: Path) -> None:
    config = retinanet()
    config["train_dataloader"]["dataset"]["backend_args"] = {"backend": "petrel"}
    with pytest.raises(ConfigError, match=r"train_dataloader.dataset.*CocoDataset has no argument 'backend_args'"):
        load_config(write(tmp_path, config))


def test_packages_of_the_family_are_not_imported(tmp_path: Path) -> None:
    config = retinanet() | {"custom_imports": {"imports": ["mmpretrain.models"], "allow_failed_imports": False}}
    assert load_config(write(tmp_path, config)).custom_imports.imports == []
    config["custom_imports"]["imports"] = ["no_such_package_of_mine"]
    with pytest.raises(ConfigError, match="no_such_package_of_mine"):
        load_config(write(tmp_path, config))
