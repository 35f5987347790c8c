"""What INT8 costs and gains: CFSR x2 with its released weights on Set5, in float32 and in int8.

    python benchmarks/quantization.py [--shared ../shared] [--out benchmarks/results/quantization_cpu.json]

PSNR-Y with a border of 2 pixels cut off, as papers have it; calibrated with the photographs of demo/, halved. The time
is that of onnxruntime for 256 x 256 pixels, the two in turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

import foveal
from foveal.evaluation.psnr_ssim import psnr
from foveal.export import ExportedModel, export_model, load_exported

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


def main() -> None:
    """Export both, score and time them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    photographs = [cv2.imread(str(path)) for path in sorted((ROOT / "demo" / "images").glob("*.jpg"))[:24]]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, images in (("float32", None), ("int8", photographs)):
            model = foveal.create_restorer("cfsr_x2", args.shared / "weights" / "CFSR_x2.pth")
            path = export_model(model, f"{folder}/{name}", size=(128, 128), dynamic=True, calibration=images)
            rows[name] = load_exported(path)
        x = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(args.repeats + 1):
            for name, exported in rows.items():
                start = time.perf_counter()
                exported(x)
                times[name].append(time.perf_counter() - start)
        median = {name: statistics.median(values[1:]) for name, values in times.items()}
        table = [
            {
                "model": "cfsr_x2",
                "precision": name,
                "psnr_y": round(score(exported, args.shared / "data" / "sr" / "Set5"), 2),
                "times_as_fast_as_float32": round(median["float32"] / median[name], 2),
                "machine": platform.machine(),
            }
            for name, exported in rows.items()
        ]
    for row in table:
        print(row)
    if args.out is not None:
        args.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
