"""COCO panoptic: every pixel belongs to a thing or to stuff (Kirillov et al., CVPR 2019, arXiv:1801.00868).

Format: https://cocodataset.org/#format-data, section 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from foveal.data.coco import CocoDataset
from foveal.data.coco_json import CocoFile, path_inside, read_coco
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS

_SEGMENT_KEYS = ("id", "category_id", "bbox", "area")


@DATASETS.register_module()
class CocoPanopticDataset(CocoDataset):
    """Images with a PNG of segment ids (R + 256 G + 65536 B) and a JSON that says what each segment is.

    A record is that of `CocoDataset`, its ``instances`` one a thing that is no crowd, in the order of the segments, and
    further ``pan_seg_map_path`` and ``segments_info``: dicts with ``id`` (the PNG's value), ``category`` (label) and
    ``is_thing`` (False for crowds, as in mmdet: their pixels have a class but are no object).
    The transform ``LoadPanopticAnnotations`` makes masks and class map of the PNG.

    Labels are things first, then stuff, each in the file's order; ``metainfo`` also has ``thing_classes`` and
    ``stuff_classes``.

    Args:
        ann_file: The panoptic JSON file.
        data_prefix: ``img``: folder of the images; ``seg``: folder of the PNGs.
        filter_cfg: As in `CocoDataset`; an image without things is empty.

    Other arguments are those of `Dataset`.
    """

    PREFIXES = ("img", "seg")

    def read_annotations(self) -> CocoFile:
        """Return the annotation file as it is, nothing left out; an annotation is an image's list of segments.

        Raises:
            ConfigError: If no ``ann_file`` was given.
            DataError: If it is not a COCO panoptic file.
        """
        self._require_ann_file()
        coco = read_coco(self.ann_file, ("file_name", "segments_info"))
        for annotation in coco.annotations:
            for number, segment in enumerate(annotation["segments_info"]):
                place = f"image {annotation['image_id']}: segments_info[{number}]"
                lacks = [key for key in _SEGMENT_KEYS if key not in segment]
                if lacks:
                    raise DataError(f"{self.ann_file}: {place} lacks {', '.join(lacks)}; it has {', '.join(segment)}")
                self._require_four_numbers(segment["bbox"], place)
        without = [category["name"] for category in coco.categories if "isthing" not in category]
        if without:
            raise DataError(f"{self.ann_file}: the categories {', '.join(without)} lack 'isthing'")
        return coco

    def segment_path(self, annotation: dict[str, Any]) -> str:
        """Return the path of the PNG of an image's annotation."""
        return path_inside(self.data_prefix.get("seg", self.data_root), annotation["file_name"], self.ann_file)

    def set_classes(self, found: Sequence[str]) -> tuple[str, ...]:
        """As in `Dataset`, and settle which classes are things.

        Raises:
            ConfigError: If the config names a stuff class before a thing class.
        """
        classes = super().set_classes([name for name in found if name in self._things] + self._stuff_of(found))
        things = tuple(name for name in classes if name in self._things)
        if classes[: len(things)] != things:
            raise ConfigError(f"metainfo['classes'] must name things before stuff; the things are {', '.join(things)}")
        self._metainfo.update(thing_classes=things, stuff_classes=classes[len(things) :])
        return classes

    def _stuff_of(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self._things]

    def _assign_labels(self, coco: CocoFile) -> None:
        self._things = {category["name"] for category in coco.categories if category["isthing"]}
        super()._assign_labels(coco)

    def _record(self, image: dict[str, Any], coco: CocoFile, dropped: Counter[str]) -> dict[str, Any]:
        annotations = coco.of_image.get(image["id"], [])
        segments = [segment for annotation in annotations for segment in annotation["segments_info"]]
        infos, instances = [], []
        for segment in segments:
            reason = self._reason_to_drop(segment, image)
            if reason is not None:
                dropped[reason] += 1
                continue
            label = self.cat2label[segment["category_id"]]
            is_object = label < len(self._metainfo["thing_classes"]) and not segment.get("iscrowd", 0)
            infos.append({"id": segment["id"], "category": label, "is_thing": is_object})
            if is_object:
                x, y, w, h = segment["bbox"]
                instances.append({"bbox": [x, y, x + w, y + h], "bbox_label": label, "ignore_flag": 0})
        record = {
            "img_path": self.image_path(image),
            "img_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "instances": instances,
            "segments_info": infos,
        }
        if annotations:
            record["pan_seg_map_path"] = self.segment_path(annotations[0])
        return record
