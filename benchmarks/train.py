"""Time of a training iteration: beside torchvision's, and of every method in eager, channels_last, bf16 and compiled.

    python benchmarks/train.py peers [--iterations 10] [--threads 2] [--workers 0] [--out FILE.json]
    python benchmarks/train.py forms [retinanet …] [--size 128] [--iterations 5] [--threads 2] [--out FILE.json]

``peers``: RetinaNet-R50 and Mask R-CNN-R50, batch 2, 320x320, the photographs under demo/, and torchvision's models of
the same names, with the share of loading data. Both freeze nothing and train every batch norm.

``forms``: a config of every method, batch 2, on noise: as it is, with channels_last, in bfloat16 by autocast, and with
backbone and neck compiled as the config key ``compile=True`` does; times as ratios to the first.

Whatever is compared alternates in one process, iteration by iteration, on the same batches; figures are medians.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import noise
import torch
from mmengine.dataset import pseudo_collate
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torchvision.models import detection

import foveal
from foveal.config import load_config
from foveal.engine.compiling import compile_network
from foveal.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parent.parent
SIZE = 320
Side = tuple[torch.nn.Module, Callable[[dict[str, Any]], torch.Tensor]]

# name: the shipped config, torchvision's function, whether it learns masks
MODELS_TIMED: dict[str, tuple[str, Callable[..., torch.nn.Module], bool]] = {
    "RetinaNet-R50": ("retinanet/retinanet_r50_fpn_1x_coco.py", detection.retinanet_resnet50_fpn, False),
    "Mask R-CNN-R50": ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", detection.maskrcnn_resnet50_fpn, True),
}
# the smallest config of each method
METHODS = {
    "retinanet": "retinanet/retinanet_r18_fpn_1x_coco.py",
    "fcos": "fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py",
    "atss": "atss/atss_r50_fpn_1x_coco.py",
    "faster_rcnn": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mask_rcnn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "cascade_mask_rcnn": "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
    "sparse_rcnn": "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py",
    "rtmdet": "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "rtmdet_ins": "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
    "yolox": "yolox/yolox_tiny_8xb8-300e_coco.py",
    "mamba_yolo": "mamba_yolo/mamba_yolo_t_8xb64-300e_coco.py",
    "ssd": "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
    "centernet": "centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py",
    "deformable_detr": "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
    "conditional_detr": "conditional_detr/conditional-detr_r50_8xb2-50e_coco.py",
    "dino": "dino/dino-4scale_r50_8xb2-12e_coco.py",
    "mask2former": "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
    "fcn": "fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py",
    "pspnet": "pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512.py",
    "deeplabv3plus": "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py",
    "upernet": "upernet/upernet_r50_4xb4-160k_ade20k-512x512.py",
    "sem_fpn": "sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py",
    "segformer": "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
    "mask2former_semantic": "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
    "pp_mobileseg": "pp_mobileseg/pp_mobileseg_tiny_2xb16-80k_ade20k-512x512.py",
    "bts": "bts/lka-depth_convnext-tiny_4xb4-50e_nyu-416x544.py",
    "espcn": "espcn/espcn_x2_coco128.py",
    "cfsr": "cfsr/cfsr_c16_x2_coco128.py",
    "swinir": "swinir/swinir_c24_x2_coco128.py",
    "nafnet": "nafnet/nafnet_width32_denoise.py",
}
FORMS = ("eager", "channels_last", "bf16", "compiled")
# the network alone: everything is trained, nothing is loaded
NETWORK = {"model.backbone.frozen_stages": -1, "model.backbone.norm_eval": False, "model.backbone.init_cfg": None}


def demo_images(with_mask: bool) -> Dataset[Any]:
    """Return the photographs under demo/ at the size of the benchmark."""
    return DATASETS.build(
        dict(
            type="CocoDataset",
            data_root=str(ROOT / "demo"),
            ann_file="annotations/instances.json",
            data_prefix=dict(img="images/"),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True, with_mask=with_mask),
                dict(type="Resize", scale=(SIZE, SIZE), keep_ratio=False),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PackInputs"),
            ],
        )
    )


def ours(config: str) -> Side:
    """Return our model and the function from a batch to its loss."""
    model = MODELS.build(load_config(ROOT / "configs" / config, NETWORK).model).train()

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        data = model.data_preprocessor(batch, training=True)
        return model.parse_losses(model(**data, mode="loss"))[0]

    return model, loss


def peer(build: Callable[..., torch.nn.Module], with_mask: bool) -> Side:
    """Return torchvision's model and the same function; its own transform keeps the size at 320."""
    model = build(
        weights=None, weights_backbone=None, num_classes=81 if with_mask else 80, min_size=SIZE, max_size=SIZE
    ).train()

    def target(sample: Any) -> dict[str, torch.Tensor]:
        truth = sample.gt_instances
        # torchvision's second stage counts the background as class 0
        found = {"boxes": truth.bboxes, "labels": truth.labels + int(with_mask)}
        return found | ({"masks": truth.masks.to(torch.uint8)} if with_mask else {})

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        images = [x.flip(0).float().div(255) for x in batch["inputs"]]
        return sum(model(images, [target(s) for s in batch["data_samples"]]).values())

    return model, loss


def iteration(
    optimizer: torch.optim.Optimizer, loss_of: Callable[[dict[str, Any]], torch.Tensor], batch: dict[str, Any]
) -> float:
    """Run forward, backward and step; return seconds."""
    start = time.perf_counter()
    optimizer.zero_grad()
    loss_of(batch).backward()
    optimizer.step()
    return time.perf_counter() - start


def compare(name: str, iterations: int, threads: int, workers: int) -> dict[str, Any]:
    """Return the figures of one model and its peer."""
    config, build, with_mask = MODELS_TIMED[name]
    dataset = demo_images(with_mask)
    loader = DataLoader(dataset, 2, shuffle=True, collate_fn=pseudo_collate, num_workers=workers, drop_last=True)
    sides = {}
    for side, (model, loss_of) in (("foveal", ours(config)), ("torchvision", peer(build, with_mask))):
        sides[side] = (torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9), loss_of)

    times: dict[str, list[float]] = {"data": [], "foveal": [], "torchvision": []}
    batches = iter(loader)
    for number in range(iterations + 2):  # two to warm up
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        data = time.perf_counter() - start
        # whoever is first in an iteration finds colder caches: take turns
        order = list(sides) if number % 2 else list(sides)[::-1]
        spent = {side: iteration(*sides[side], batch) for side in order}
        if number >= 2:
            times["data"].append(data)
            for side, seconds in spent.items():
                times[side].append(seconds)

    middle = {side: statistics.median(values) for side, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["foveal"], times["torchvision"], strict=True))
    return {
        "case": f"{name}, batch 2, {SIZE}x{SIZE}, {threads} threads, {workers} workers",
        "iteration_s": round(middle["foveal"] + middle["data"], 3),
        "model_s": round(middle["foveal"], 3),
        "data_s": round(middle["data"], 4),
        "data_share": round(middle["data"] / (middle["foveal"] + middle["data"]), 4),
        "torchvision_model_s": round(middle["torchvision"], 3),
        "ratio_to_torchvision": round(ratio, 3),
        "iterations": iterations,
        "torch": torch.__version__,
        "foveal": foveal.__version__,
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
    }


def step_of(form: str, model: Any) -> Callable[[dict[str, Any]], None]:
    """Return what a training iteration is in a form; the model is changed to be of it."""
    if form == "channels_last":
        model.to(memory_format=torch.channels_last)
    if form == "compiled":
        compile_network(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    device = next(model.parameters()).device.type

    def step(batch: dict[str, Any]) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=form == "bf16"):
            data = model.data_preprocessor(copy.deepcopy(batch), training=True)
            if form == "channels_last":
                data["inputs"] = data["inputs"].contiguous(memory_format=torch.channels_last)
            loss, parts = model.parse_losses(model(**data, mode="loss"))
        if not loss.isfinite():
            raise RuntimeError(f"the loss is not finite: {parts}")
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def forms(name: str, size: int, iterations: int, threads: int) -> dict[str, Any]:
    """Return a method's time in eager and the other forms' times relative to it; a sentence for a form that fails."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    node = without_files(load_config(ROOT / "configs" / METHODS[name]).model)
    pixels = node.get("data_preprocessor") or {}
    pixels.pop("batch_augments", None)  # they make large images of small ones
    if pixels.get("size"):
        pixels["size"] = (size, size)
    if node.get("as_two_stage"):
        node.num_queries = min(node.num_queries, size**2 // 64)  # of the places that small images have
    model = MODELS.build(node).to("cuda" if torch.cuda.is_available() else "cpu").train()
    classes = (node.get("decode_head") or {}).get("num_classes", 80)
    batches = [noise.batch(model, 2, size, classes) for _ in range(iterations + 2)]
    steps = {form: step_of(form, copy.deepcopy(model)) for form in FORMS}
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    failed: dict[str, str] = {}
    for number, batch in enumerate(batches):
        for form in FORMS if number % 2 else FORMS[::-1]:
            if form in failed:
                continue
            start = time.perf_counter()
            try:
                steps[form](batch)
            except Exception as error:
                if form == "eager":
                    raise
                failed[form] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if number >= 2:
                times[form].append(time.perf_counter() - start)
    result: dict[str, Any] = {"method": name, "eager_s": round(statistics.median(times["eager"]), 4)}
    for form in FORMS[1:]:
        ratios = [b / a for a, b in zip(times["eager"], times[form], strict=False)]
        result[form] = failed.get(form) or round(statistics.median(ratios), 3)
    figures = {"size": size, "batch_size": 2, "iterations": iterations, "threads": threads}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {**result, **figures, "device": device, "torch": torch.__version__, "foveal": foveal.__version__}


def without_files(node: Any) -> Any:
    """A model's config without released weights, in place."""
    for key in ("init_cfg", "pretrained"):
        node.pop(key, None)
        (node.get("backbone") or {}).pop(key, None)
    loss = node.get("pixel_loss") or {}
    for part in loss.get("losses", [loss]):
        if part.get("type") == "PerceptualLoss":
            part["weights"] = None
    return node


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    peers = kinds.add_parser("peers", help="beside torchvision's models")
    peers.add_argument("models", nargs="*", metavar="MODEL", default=list(MODELS_TIMED))
    peers.add_argument("--workers", type=int, default=0)
    ways = kinds.add_parser("forms", help="eager, channels_last, bf16 and compiled")
    ways.add_argument("models", nargs="*", metavar="METHOD", default=list(METHODS))
    ways.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    for kind in (peers, ways):
        kind.add_argument("--iterations", type=int, default=10 if kind is peers else 5)
        kind.add_argument("--threads", type=int, default=2)
        kind.add_argument("--out", type=Path)
    args = parser.parse_args()
    unknown = set(args.models) - set(MODELS_TIMED if args.kind == "peers" else METHODS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    results = []
    for name in args.models:
        if args.kind == "peers":
            results.append(compare(name, args.iterations, args.threads, args.workers))
        else:
            # what is compiled stays in memory: each method in a process of its own
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                results.append(pool.submit(forms, name, args.size, args.iterations, args.threads).result())
            print({key: results[-1][key] for key in ("method", "eager_s", *FORMS[1:])}, flush=True)
        if args.out is not None:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    if args.kind == "forms":  # many methods, few figures
        table = Table("method", "eager_s", *FORMS[1:])
        for result in results:
            table.add_row(*(str(result[column.header]) for column in table.columns))
    else:
        table = Table("figure", *(result["model"] for result in results))
        for key in list(results[0])[1:]:
            table.add_row(key, *(str(result[key]) for result in results))
    Console().print(table)


if __name__ == "__main__":
    main()
