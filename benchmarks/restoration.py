"""Restoration: milliseconds and memory of every network for 1280 x 720, and the speed of the training data.

    python benchmarks/restoration.py networks [NAME …] [--threads 2] [--forms eager channels_last compiled]
    python benchmarks/restoration.py data

Networks make a picture of 1280 x 720 in one piece (--height makes it smaller, in the same proportion). Memory is the
growth of the process's largest size over the first call: of several networks in one process only the largest shows. The
data are patches of 192 x 192 and their bicubic quarter, of one image in memory: our pipeline beside the same steps
through Pillow, alternated; the ratio is the median of the pairs', above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import foveal
from foveal.data.base import build_pipeline

NETWORKS = (
    "espcn_x2", "espcn_x4", "edsr_baseline_x2", "edsr_baseline_x4", "cfsr_x2", "cfsr_x4", "tcsr_b_x2", "tcsr_b_x4",
    "swinir_lightweight_sr_x2", "swinir_lightweight_sr_x4", "mambair_lightsr_x2", "mambair_lightsr_x4",
)  # fmt: skip
FORMS = ("eager", "channels_last", "compiled")


def seconds(call: Callable[[], Any]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, form: str, height: int, repeats: int) -> dict[str, Any]:
    """Return milliseconds and growth of memory of a network in one form."""
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
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        best = statistics.median(seconds(lambda: run(x)) for _ in range(repeats))
    return {"network": name, "form": form, "ms": round(1e3 * best, 1), "growth_mib": growth // 1024}


def compare_data(repeats: int) -> dict[str, float]:
    """Return patches a second of our pipeline and of Pillow's, and the ratio."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    crop = {"type": "PairedRandomCrop", "gt_patch_size": 192, "scale": 4}
    pipeline = build_pipeline([crop, {"type": "MATLABLikeResize", "scale": 0.25}, {"type": "PackInputs"}])

    def ours() -> None:
        for _ in range(50):
            pipeline({"gt_img": image})

    def pillow() -> None:
        for _ in range(50):
            top, left = np.random.randint(480 - 192 + 1), np.random.randint(640 - 192 + 1)
            sharp = Image.fromarray(image[..., ::-1]).crop((left, top, left + 192, top + 192))
            low = sharp.resize((48, 48), Image.Resampling.BICUBIC)
            for picture in (sharp, low):
                torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).contiguous()

    ours()
    pillow()
    pairs = [(seconds(ours), seconds(pillow)) for _ in range(repeats)]
    return {
        "ours_per_s": round(50 / statistics.median(a for a, _ in pairs)),
        "pillow_per_s": round(50 / statistics.median(b for _, b in pairs)),
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
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=120)
    if args.what == "data":
        console.print(compare_data(args.repeats))
        return
    table = Table("network", "form", "ms", "memory, MiB", title=f"to {args.height * 16 // 9} x {args.height}")
    for name in args.names:
        for form in args.forms:
            row = measure(name, form, args.height, args.repeats)
            console.print(row, highlight=False)
            table.add_row(*map(str, row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
