"""Heads: raw outputs, losses and predictions from feature maps; and what several heads share."""

from foveal.heads import (
    anchors,
    assigners,
    classification,
    coders,
    depth,
    detection,
    losses,
    restoration,
    roi_heads,
    samplers,
    segmentation,
)

__all__ = [
    "anchors",
    "assigners",
    "classification",
    "coders",
    "depth",
    "detection",
    "losses",
    "restoration",
    "roi_heads",
    "samplers",
    "segmentation",
]
