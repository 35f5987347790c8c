"""Restoration: milliseconds and memory of every network for 1280 x 720, and the speed of the training data.

    python benchmarks/restoration.py networks [NAME …] [--threads 2] [--forms eager channels_last compiled]
        [--out benchmarks/results/restoration_networks_cpu.json]
    python benchmarks/restoration.py data [--out benchmarks/results/restoration_data_cpu.json]

Networks make a picture of 1280 x 720 in one piece (--height makes it smaller, in the same proportion), each in its own
process: memory is the growth of its largest size over all calls, so it counts what a form keeps. The
data are patches of 192 x 192 and their bicubic quarter, of an image in memory and of files, which are the photographs
under demo/, ours packed by ``foveal data pack`` and Pillow's as PNG. Our pipeline and the same steps through Pillow
alternate; the ratio is the median of the pairs', above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import foveal
from foveal.data.base import build_pipeline
from foveal.data.packed import pack_images, packed_names

ROOT = Path(__file__).resolve().parent.parent
PATCH = 192

# the large ones take minutes a call on a CPU: name those that are wanted
NETWORKS = tuple(name for name in foveal.list_restorers() if "_x2" in name or "_x4" in name)
FORMS = ("eager", "channels_last", "compiled")


def seconds(call: Callable[[], Any]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, form: str, height: int, repeats: int, threads: int) -> dict[str, Any]:
    """Return milliseconds and growth of memory of a network in one form."""
    torch.set_num_threads(threads)
    model: Any = foveal.create_restorer(name).eval()
    x = torch.rand(1, len(model.data_preprocessor.mean), height // model.scale, height * 16 // 9 // model.scale)
    run = model
    if form == "channels_last":
        run, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if form == "compiled":
        run = torch.compile(model)
    with torch.no_grad():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(x)
        middle = statistics.median(seconds(lambda: run(x)) for _ in range(repeats))
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"network": name, "form": form, "ms": round(1e3 * middle, 1), "growth_mib": growth // 1024}


def crop_and_shrink(picture: Image.Image) -> None:
    """Make the patches of a picture as a pipeline of Pillow does."""
    left, top = (np.random.randint(side - PATCH + 1) for side in picture.size)
    sharp = picture.crop((left, top, left + PATCH, top + PATCH))
    low = sharp.resize((PATCH // 4, PATCH // 4), Image.Resampling.BICUBIC)
    for made in (sharp, low):
        torch.from_numpy(np.asarray(made).copy()).permute(2, 0, 1).contiguous()


def compare_data(repeats: int) -> list[dict[str, Any]]:
    """Return patches a second of our pipeline and of Pillow's, and the ratio: of images in memory and of files."""
    files = sorted((ROOT / "demo" / "images").glob("*.jpg"))
    crop = {"type": "PairedRandomCrop", "gt_patch_size": PATCH, "scale": 4}
    steps = [crop, {"type": "MATLABLikeResize", "scale": 0.25}, {"type": "PackInputs"}]
    pipeline, reading = build_pipeline(steps), build_pipeline([{"type": "LoadImageFromFile", "key": "gt_img"}, *steps])
    with tempfile.TemporaryDirectory() as folder:
        pictures = {f"{file.stem}.png": cv2.imread(str(file)) for file in files}
        pictures = {name: picture for name, picture in pictures.items() if min(picture.shape[:2]) >= PATCH}
        for name, picture in pictures.items():
            cv2.imwrite(str(Path(folder) / name), picture)
        packed = f"{folder}/all.safetensors"
        pack_images(pictures.items(), packed)
        image = next(iter(pictures.values()))
        reversed_image = Image.fromarray(image[..., ::-1])
        forms = {
            "in memory": (
                [lambda: pipeline({"gt_img": image})] * 50,
                [lambda: crop_and_shrink(reversed_image)] * 50,
            ),
            "files: ours packed, Pillow's PNG": (
                [lambda path=path: reading({"gt_img_path": path}) for path in packed_names(packed)],
                [lambda name=name: crop_and_shrink(Image.open(f"{folder}/{name}").convert("RGB")) for name in pictures],
            ),
        }
        return [{"data": form, **alternate(*calls, repeats)} for form, calls in forms.items()]


def alternate(ours: list[Callable[[], Any]], pillow: list[Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return calls a second of both, and the ratio."""

    def run(calls: list[Callable[[], Any]]) -> None:
        for call in calls:
            call()

    run(ours)
    run(pillow)
    pairs = [(seconds(lambda: run(ours)), seconds(lambda: run(pillow))) for _ in range(repeats)]
    return {
        "ours_per_s": round(len(ours) / statistics.median(a for a, _ in pairs)),
        "pillow_per_s": round(len(pillow) / statistics.median(b for _, b in pairs)),
        "ratio": round(statistics.median(b / a for a, b in pairs), 2),
    }


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("networks", "data"))
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=120)
    if args.what == "data":
        rows = compare_data(args.repeats)
    else:
        rows = []
        for name, form in itertools.product(args.names, args.forms):
            # a process for each: the largest size of a process never falls
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measure, (name, form, args.height, args.repeats, args.threads)))
            console.print(rows[-1], highlight=False)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
    if args.out is not None:
        size = f"{args.height * 16 // 9} x {args.height}" if args.what == "networks" else f"patches of {PATCH}"
        about = {"size": size, "threads": args.threads, "torch": torch.__version__, "machine": platform.machine()}
        args.out.write_text(json.dumps([{**row, **about} for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
