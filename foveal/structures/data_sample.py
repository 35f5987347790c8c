"""DataSample: one image's annotations and predictions, for every task."""

from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor


class DataSample(BaseDataElement):
    """Annotations and predictions of one image. A field is there only where the task has it.

    The names are those of mmdet's ``DetDataSample``, mmseg's ``SegDataSample`` and mmagic's ``DataSample``:

    ==================  ==============================================================================
    ``gt_instances``    InstanceData: ``bboxes`` float [N, 4] (x1, y1, x2, y2 in pixels of the network's
                        input), ``labels`` int64 [N], ``masks`` bool [N, H, W] where loaded
    ``ignored_instances``  the same for crowds
    ``pred_instances``  InstanceData: ``bboxes``, ``scores`` float [N] in [0, 1], ``labels``, ``masks``, in
                        pixels of the original image
    ``gt_sem_seg``      PixelData: ``data`` int64 [1, H, W], 255 = ignored
    ``pred_sem_seg``    PixelData: ``data`` int64 [1, H, W] at the original size
    ``pred_panoptic_seg``  PixelData: ``sem_seg`` int32 [1, H, W] at the original size, class + 1000 * object
    ``seg_logits``      PixelData: ``data`` float [num_classes, H, W]
    ``gt_label``        int64 [1] (image classification)
    ``pred_label``      int64 [1]; ``pred_score`` float [num_classes], sums to 1
    ``gt_img``          uint8 [3, H, W], RGB, the sharp image of a restoration pair
    ``pred_img``        float [3, H, W], RGB in [0, 1]
    ==================  ==============================================================================

    ``metainfo`` holds ``img_path``, ``img_id``, ``ori_shape`` (h, w), ``img_shape`` (h, w after the transforms),
    ``pad_shape``, ``batch_input_shape``, ``scale_factor`` (w, h), ``flip``, ``flip_direction``.
    """

    gt_instances: InstanceData
    ignored_instances: InstanceData
    pred_instances: InstanceData
    gt_sem_seg: PixelData
    pred_sem_seg: PixelData
    pred_panoptic_seg: PixelData
    seg_logits: PixelData
    gt_label: Tensor
    pred_label: Tensor
    pred_score: Tensor
    gt_img: Tensor
    pred_img: Tensor
