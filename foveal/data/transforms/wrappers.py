"""Transforms made of transforms. mmcv's own would build mmcv's `Resize` and such in place of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

Step = Mapping[str, Any]


def _build_all(steps: Step | Sequence[Step]) -> list[BaseTransform]:
    return [TRANSFORMS.build(step) for step in ([steps] if isinstance(steps, Mapping) else steps)]


def _run(steps: Sequence[BaseTransform], results: dict[str, Any]) -> dict[str, Any] | None:
    """Apply transforms in turn; None as soon as one gives the sample up."""
    for step in steps:
        results = step(results)
        if results is None:
            return None
    return results


@TRANSFORMS.register_module()
class RandomChoice(BaseTransform):
    """Apply one of several pipelines.

    Args:
        transforms: The pipelines, each a config dict or a list of such.
        prob: Their probabilities; None: all the same.

    Raises:
        ConfigError: If there is not one probability a pipeline, with sum 1.
    """

    def __init__(self, transforms: Sequence[Step | Sequence[Step]], prob: Sequence[float] | None = None) -> None:
        self.pipelines = [_build_all(steps) for steps in transforms]
        if prob is not None and (len(prob) != len(self.pipelines) or abs(sum(prob) - 1) > 1e-6):
            raise ConfigError(f"RandomChoice: prob must be {len(self.pipelines)} numbers with sum 1, got {prob!r}")
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Transform a sample by the pipeline that is drawn."""
        return _run(self.pipelines[np.random.choice(len(self.pipelines), p=self.prob)], results)


@TRANSFORMS.register_module()
class RandomApply(BaseTransform):
    """Apply a pipeline, or leave the sample.

    Args:
        transforms: A config dict or a list of such.
        prob: Probability of applying it.
    """

    def __init__(self, transforms: Step | Sequence[Step], prob: float = 0.5) -> None:
        self.steps = _build_all(transforms)
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Transform a sample or return it as it is."""
        return _run(self.steps, results) if np.random.random_sample() < self.prob else results
