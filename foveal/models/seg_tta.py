"""SegTTAModel: labels from several sizes and flips of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData

from foveal.registry import MODELS
from foveal.structures import DataSample


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Average the probabilities that a segmentor gives to the views of an image; mmseg's class of this name.

    The segmentor has undone flips and sizes, so all views lie on the original image's pixels.
    """

    def merge_preds(self, data_samples_list: Sequence[Sequence[DataSample]]) -> list[DataSample]:
        """Return one data sample an image.

        Args:
            data_samples_list: Of each image, the predictions for its views, with ``seg_logits`` [K, H, W].

        Returns:
            The first view's data sample with ``seg_logits``, now probabilities, and ``pred_sem_seg`` [1, H, W].
        """
        head = self.module.decode_head
        merged = []
        for views in data_samples_list:
            sample = views[0]
            several = sample.seg_logits.data.shape[0] > 1
            logits = [view.seg_logits.data for view in views]
            # a head with one channel has given probabilities already
            mean = torch.stack([x.softmax(0) if several else x for x in logits]).mean(0)
            labels = mean.argmax(0, keepdim=True) if several else (mean > head.threshold).long()
            sample.seg_logits = PixelData(data=mean)
            sample.pred_sem_seg = PixelData(data=labels)
            merged.append(sample)
        return merged
