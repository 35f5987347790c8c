"""The masks that queries learn from: objects, and one for each class of stuff."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData

from foveal.errors import DataError
from foveal.structures import DataSample


def segments_of(sample: DataSample, num_things_classes: int, num_stuff_classes: int, who: str) -> InstanceData:
    """Return ``labels`` [G] and ``masks`` bool [G, H, W] of an image's objects and stuff.

    Args:
        sample: With ``gt_instances`` that have masks and, where there is stuff to learn, ``gt_sem_seg``.
        num_things_classes: The first classes are objects.
        num_stuff_classes: The next are stuff.
        who: Who needs them, for the message.

    Raises:
        DataError: If there are no masks; names the image.
    """
    objects = sample.gt_instances
    if "masks" not in objects:
        raise DataError(f"{name_of(sample)} has no masks, and {who} needs them")
    labels, masks = objects.labels, objects.masks.bool()
    if num_stuff_classes and "gt_sem_seg" in sample:
        seg = sample.gt_sem_seg.data.squeeze(0)
        stuff = seg.unique().long()
        stuff = stuff[(stuff >= num_things_classes) & (stuff < num_things_classes + num_stuff_classes)]
        labels, masks = torch.cat((labels, stuff)), torch.cat((masks, seg == stuff[:, None, None]))
    return InstanceData(labels=labels, masks=masks)


def name_of(sample: DataSample) -> str:
    """Return an image's path, else its number."""
    return sample.get("img_path") or f"img_id {sample.get('img_id')}"
