"""What mmdet's and mmseg's stock configs share: runtime, loaders, pixels."""

from __future__ import annotations

from typing import Any

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


def fpn(**more: Any) -> Node:
    wide = {"type": "FPN", "in_channels": [256, 512, 1024, 2048], "out_channels": 256, "num_outs": 5}
    return {**wide, **more}
