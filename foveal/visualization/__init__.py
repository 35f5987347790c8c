"""Pictures of annotations, predictions and training."""

from foveal.visualization.csv_backend import CSVVisBackend
from foveal.visualization.curves import plot_curves
from foveal.visualization.draw import draw_detections, draw_legend, draw_segmentation
from foveal.visualization.hook import VisualizationHook, write_image
from foveal.visualization.sample import compare_sample, draw_sample
from foveal.visualization.sheet import picture_sheet, restoration_panel, side_by_side

__all__ = [
    "CSVVisBackend",
    "VisualizationHook",
    "compare_sample",
    "draw_detections",
    "draw_legend",
    "draw_sample",
    "draw_segmentation",
    "picture_sheet",
    "plot_curves",
    "restoration_panel",
    "side_by_side",
    "write_image",
]
