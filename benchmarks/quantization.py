"""What INT8 costs and gains on Set5: a network of convolutions and a transformer, in float32, int8 and AdaLog's codes.

    python tools/train.py configs/swinir/swinir_c24_x2_coco128.py --work-dir work_dirs/swinir
    python benchmarks/quantization.py --swinir work_dirs/swinir/last_checkpoint [--shared ../shared] [--out FILE]

CFSR x2 has its released weights; of small SwinIR none are released that a benchmark could download, so it is trained
first, which takes minutes. PSNR-Y with a border of 2 pixels cut off, as papers have it; calibrated with the photographs
of demo/. The time is that of onnxruntime for 256 x 256 pixels, a network's files in turns.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import foveal
from foveal.evaluation.psnr_ssim import psnr
from foveal.export import ExportedModel, export_model, load_exported
from foveal.models.restorer import Restorer

ROOT = Path(__file__).resolve().parent.parent


def score(exported: ExportedModel, folder: Path) -> float:
    """Return the mean PSNR-Y over Set5."""
    found = []
    for path in sorted((folder / "HR").glob("*.png")):
        low = cv2.imread(str(folder / "LR_bicubic" / "X2" / f"{path.stem}x2.png"))
        high = cv2.imread(str(path))[: 2 * low.shape[0], : 2 * low.shape[1]]
        made = exported(exported.prepare(low))["restored"][0].transpose(1, 2, 0)[..., ::-1]
        found.append(psnr((made * 255).round().clip(0, 255).astype(np.uint8), high, crop_border=2, convert_to="Y"))
    return float(np.mean(found))


def measure(
    name: str, model: Restorer, photographs: list[np.ndarray], set5: Path, repeats: int
) -> list[dict[str, Any]]:
    """Export a network in every precision that it has a use for, score and time the files."""
    precisions: dict[str, dict[str, Any]] = {"float32": {}, "int8": {"calibration": photographs}}
    if name.startswith("swinir"):
        logs = {f"int8, {bits}-bit logarithms": {"calibration": photographs, "log_bits": bits} for bits in (8, 6, 4)}
        precisions |= logs
    with tempfile.TemporaryDirectory() as folder:
        rows = {}
        for number, (precision, options) in enumerate(precisions.items()):
            path = export_model(copy.deepcopy(model), f"{folder}/{number}", size=(128, 128), dynamic=True, **options)
            rows[precision] = load_exported(path)
        x = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
        times: dict[str, list[float]] = {precision: [] for precision in rows}
        for _ in range(repeats + 1):
            for precision, exported in rows.items():
                start = time.perf_counter()
                exported(x)
                times[precision].append(time.perf_counter() - start)
        median = {precision: statistics.median(values[1:]) for precision, values in times.items()}
        return [
            {
                "model": name,
                "precision": precision,
                "psnr_y": round(score(exported, set5), 2),
                "times_as_fast_as_float32": round(median["float32"] / median[precision], 2),
                "machine": platform.machine(),
            }
            for precision, exported in rows.items()
        ]


def main() -> None:
    """Print a row for each network and precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--swinir", type=Path, help="checkpoint of configs/swinir/swinir_c24_x2_coco128.py")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    photographs = [cv2.imread(str(path)) for path in sorted((ROOT / "demo" / "images").glob("*.jpg"))[:24]]
    models: dict[str, Any] = {"cfsr_x2": foveal.create_restorer("cfsr_x2", args.shared / "weights" / "CFSR_x2.pth")}
    if args.swinir is not None:
        models["swinir_c24_x2"] = foveal.init_model("swinir/swinir_c24_x2_coco128.py", args.swinir, "cpu")
    table: list[dict[str, Any]] = []
    for name, model in models.items():
        table += measure(name, model, photographs, args.shared / "data" / "sr" / "Set5", args.repeats)
    for row in table:
        print(row)
    if args.out is not None:
        args.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
