"""Detectors' configs as mmdet 3.x has them."""

from __future__ import annotations

from typing import Any

from tests.config.stock import ANN_FILE, BACKEND, PIXELS, SIDE, Node, fpn, loader, pack, runtime


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
