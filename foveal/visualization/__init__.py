"""Pictures of annotations, predictions and training."""

from mmengine.visualization import Visualizer

from foveal.registry import VISUALIZERS
from foveal.visualization.csv_backend import CSVVisBackend
from foveal.visualization.curves import plot_curves
from foveal.visualization.draw import draw_detections, draw_legend, draw_segmentation
from foveal.visualization.hook import VisualizationHook, write_image
from foveal.visualization.sample import compare_sample, draw_sample
from foveal.visualization.sheet import picture_sheet, restoration_panel, side_by_side

# Drawing is VisualizationHook's work here; of these classes of mmdet and mmseg what passes scalars on remains.
VISUALIZERS.register_module(name=["DetLocalVisualizer", "SegLocalVisualizer"], module=Visualizer)

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
