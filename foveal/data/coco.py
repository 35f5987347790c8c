"""COCO instances: boxes, polygons, both RLE kinds, crowds (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from foveal.data.base import Dataset
from foveal.data.coco_json import CocoFile, path_inside, read_coco
from foveal.data.palette import make_palette
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS, nearest

COCO_CLASSES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes in the order of the official files, which mmdet's checkpoints use."""

COCO_PALETTE = make_palette(len(COCO_CLASSES))

_FAR = 1e9  # pixels: no image is so large
_FILTERS = ("filter_empty_gt", "min_size")


@DATASETS.register_module()
class CocoDataset(Dataset):
    """Images with boxes and masks in COCO's JSON format, read as mmdet's class of this name does.

    A record has ``img_path``, ``img_id``, ``height``, ``width`` and ``instances``: dicts with ``bbox`` (x1, y1, x2, y2
    in pixels, as annotated: a box that reaches out of the image is not clipped here), ``bbox_label``, ``ignore_flag``
    (1 for crowds), ``id`` and, where annotated, ``mask`` (polygons, or an RLE dict with text or list ``counts``). Left
    out, with a logged count: boxes narrower or lower than one pixel, of no area or wholly outside the image; other
    classes; annotations with ``ignore``.

    Labels are positions in ``metainfo['classes']``. ``cat_ids`` (attribute and ``metainfo`` key) has the file's
    category id of each label. Unlike in mmdet, classes in another order than the file's do change the labels.

    Args:
        ann_file: The JSON file.
        data_prefix: ``img``: folder that ``file_name`` is relative to.
        filter_cfg: Used while training. ``filter_empty_gt``: leave out images in which no object is left;
            ``min_size``: leave out images whose shorter side is below this, in pixels.

    Other arguments are those of `Dataset`.
    """

    PREFIXES: tuple[str, ...] = ("img",)

    cat_ids: list[int]
    cat2label: dict[int, int]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one record an image, in the file's order.

        Raises:
            ConfigError: If the config names other classes than the file has, or ``ann_file`` or a filter is wrong.
            DataError: If the file is not a COCO annotation file.
        """
        coco = self.read_annotations()
        self._assign_labels(coco)
        dropped: Counter[str] = Counter()
        records = [self._record(image, coco, dropped) for image in coco.images]
        self.log_dropped(dropped)
        return records

    def read_annotations(self) -> CocoFile:
        """Return the annotation file as it is, nothing left out.

        Raises:
            ConfigError: If no ``ann_file`` was given.
            DataError: If it is not a COCO instance file.
        """
        self._require_ann_file()
        coco = read_coco(self.ann_file, ("id", "category_id", "bbox"))
        for number, annotation in enumerate(coco.annotations):
            self._require_four_numbers(annotation["bbox"], f"annotations[{number}]")
            if not isinstance(annotation.get("area", 0), int | float):
                raise DataError(f"{self.ann_file}: annotations[{number}]: area must be a number")
        return coco

    def image_path(self, image: dict[str, Any]) -> str:
        """Return the path of an image of the annotation file.

        Raises:
            DataError: If its name leads out of the images' folder.
        """
        return path_inside(self.data_prefix.get("img", self.data_root), image["file_name"], self.ann_file)

    def filter_data(self) -> list[dict[str, Any]]:
        """Return the records that ``filter_cfg`` keeps; in test mode all.

        Raises:
            ConfigError: If ``filter_cfg`` has an unknown key.
        """
        config = self.filter_cfg or {}
        wrong = sorted(set(config) - set(_FILTERS))
        if wrong:
            near = nearest(wrong[0], _FILTERS, 1) or _FILTERS
            raise ConfigError(f"filter_cfg has no key {wrong[0]!r}; did you mean {' or '.join(map(repr, near))}?")
        if self.test_mode:
            return self.data_list
        kept = self.data_list
        if config.get("filter_empty_gt", False):
            kept = [record for record in kept if record["instances"]]
        smallest = config.get("min_size", 0)
        return [record for record in kept if min(record["width"], record["height"]) >= smallest]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels of the objects in image ``idx``, repeated as often as they occur."""
        return [instance["bbox_label"] for instance in self.get_data_info(idx)["instances"]]

    def _require_ann_file(self) -> None:
        if not self.ann_file:
            raise ConfigError(f"{type(self).__name__} needs ann_file")

    def _require_four_numbers(self, box: Any, place: str) -> None:
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, (int, float)) for v in box):
            raise DataError(f"{self.ann_file}: {place}: bbox must be four numbers (x, y, width, height), got {box!r}")

    def _assign_labels(self, coco: CocoFile) -> None:
        id_of = {category["name"]: category["id"] for category in coco.categories}
        classes = self.set_classes(list(id_of))
        self.cat_ids = [id_of[name] for name in classes]
        self.cat2label = {cat_id: label for label, cat_id in enumerate(self.cat_ids)}
        self._metainfo["cat_ids"] = self.cat_ids

    def _record(self, image: dict[str, Any], coco: CocoFile, dropped: Counter[str]) -> dict[str, Any]:
        instances = []
        for annotation in coco.of_image.get(image["id"], ()):
            reason = self._reason_to_drop(annotation, image)
            if reason is not None:
                dropped[reason] += 1
                continue
            x, y, w, h = annotation["bbox"]
            instance = {
                "bbox": [x, y, x + w, y + h],
                "bbox_label": self.cat2label[annotation["category_id"]],
                "ignore_flag": int(bool(annotation.get("iscrowd", 0))),
                "id": annotation.get("id"),
            }
            if annotation.get("segmentation"):
                instance["mask"] = annotation["segmentation"]
            instances.append(instance)
        return {
            "img_path": self.image_path(image),
            "img_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "instances": instances,
        }

    def _reason_to_drop(self, annotation: dict[str, Any], image: dict[str, Any]) -> str | None:
        if annotation["category_id"] not in self.cat2label:
            return "annotations of other classes"
        if annotation.get("ignore", False):
            return "annotations marked 'ignore'"
        if not all(abs(value) < _FAR for value in annotation["bbox"]):  # this way round, NaN is far, too
            return "boxes that are not finite"
        x, y, w, h = annotation["bbox"]
        if not (annotation.get("area", w * h) > 0 and w >= 1 and h >= 1):  # this way round, NaN is dropped too
            return "boxes below one pixel"
        inside_w = min(x + w, image["width"]) - max(x, 0)
        inside_h = min(y + h, image["height"]) - max(y, 0)
        return "boxes outside their image" if inside_w <= 0 or inside_h <= 0 else None
