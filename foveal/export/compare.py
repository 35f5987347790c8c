"""Whether an exported model computes what PyTorch computes."""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]


def differences(want: Arrays, got: Arrays, tolerance: float = 1e-4, share: float = 0.005) -> list[str]:
    """Say where two models' outputs differ.

    Args:
        want: PyTorch's outputs by name.
        got: The exported model's.
        tolerance: Largest difference of a floating-point output, relative to its largest value. Of detections: of a
            score, and of a box relative to the largest coordinate.
        share: Of labels, mask pixels and detections, how many may differ: next to a threshold, or between two equal
            scores, rounding decides.

    Returns:
        A phrase for each output that differs more; none: they are equal.
    """
    if "bboxes" in want:
        # detections are compared as a set: equal scores have no order
        missed = max(unmatched(want, got, tolerance), unmatched(got, want, tolerance))
        return [f"{missed:.2%} of the detections differ"] if missed > share else []
    found = []
    for name, expected in want.items():
        actual = got[name]
        if actual.shape != expected.shape:
            found.append(f"{name} has shape {list(actual.shape)}, not {list(expected.shape)}")
        elif expected.dtype.kind == "f":
            error = np.abs(actual - expected).max(initial=0) / max(float(np.abs(expected).max(initial=0)), 1e-12)
            if not error <= tolerance:
                found.append(f"{name} differs by {error:.1e} of its largest value")
        elif (actual != expected).mean() > share:
            found.append(f"{(actual != expected).mean():.2%} of {name} differ")
    return found


def unmatched(want: Arrays, got: Arrays, tolerance: float) -> float:
    """Return the share of ``want``'s detections that ``got`` has no equal of: label, score, box, and mask if there.

    Args:
        want: ``bboxes`` [N, M, 4], ``scores`` [N, M], ``labels`` [N, M], perhaps ``masks`` [N, M, H, W]; a score of 0
            is no detection.
        got: The same.
        tolerance: See `differences`.
    """
    missed = total = 0
    span = max(float(np.abs(want["bboxes"]).max(initial=0)), 1.0)
    for image in range(len(want["scores"])):
        a, b = ({name: values[image][d["scores"][image] > 0] for name, values in d.items()} for d in (want, got))
        near = np.abs(a["bboxes"][:, None] - b["bboxes"]).max(2, initial=0) <= span * tolerance
        near &= np.abs(a["scores"][:, None] - b["scores"]) <= tolerance
        near &= a["labels"][:, None] == b["labels"]
        if "masks" in a:
            for i, j in zip(*near.nonzero(), strict=True):
                near[i, j] = (a["masks"][i] != b["masks"][j]).mean() <= 0.01
        missed += int((~near.any(1)).sum())
        total += len(a["scores"])
    return missed / max(total, 1)
