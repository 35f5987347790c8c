"""Scores of predictions, under the names and by the definitions of each field's own tools."""

from foveal.evaluation.accuracy import Accuracy
from foveal.evaluation.coco_dump import detections_to_json
from foveal.evaluation.coco_eval import evaluate_coco
from foveal.evaluation.coco_metric import CocoMetric
from foveal.evaluation.coco_panoptic_metric import CocoPanopticMetric
from foveal.evaluation.depth_metric import DepthMetric, depth_scores
from foveal.evaluation.iou_metric import IoUMetric
from foveal.evaluation.lpips import LPIPS
from foveal.evaluation.panoptic import Segment, panoptic_counts, panoptic_scores
from foveal.evaluation.psnr_ssim import PSNR, SSIM, psnr, rgb_to_y, ssim

__all__ = [
    "LPIPS",
    "PSNR",
    "SSIM",
    "Accuracy",
    "CocoMetric",
    "CocoPanopticMetric",
    "DepthMetric",
    "IoUMetric",
    "Segment",
    "depth_scores",
    "detections_to_json",
    "evaluate_coco",
    "panoptic_counts",
    "panoptic_scores",
    "psnr",
    "rgb_to_y",
    "ssim",
]
