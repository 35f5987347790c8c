"""Reading COCO's JSON files: what is wrong with one is said with file, place and key."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from foveal.errors import DataError


def read_json(path: str) -> Any:
    """Return the content of a JSON file.

    Args:
        path: An existing file.

    Returns:
        Dicts, lists and plain values.

    Raises:
        DataError: If it is not JSON; the message has line and column.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not JSON: byte {error.start} is not UTF-8 text") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be an annotation file") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path} cannot be read: {error}") from None


@dataclass
class CocoFile:
    """The content of a COCO annotation file, by image.

    Args:
        path: The file.
        images: Its images, in the file's order; each has ``id``, ``file_name``, ``width`` and ``height``.
        categories: Its categories, in the file's order; each has ``id`` and ``name``.
        annotations: All annotations, in the file's order.
    """

    path: str
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    of_image: dict[int, list[dict[str, Any]]] = field(init=False)

    def __post_init__(self) -> None:
        self.of_image = defaultdict(list)
        for annotation in self.annotations:
            self.of_image[annotation["image_id"]].append(annotation)


def read_coco(path: str, annotation_keys: Iterable[str]) -> CocoFile:
    """Read a COCO annotation file (https://cocodataset.org/#format-data).

    Args:
        path: An existing file. One without ``annotations`` (a test set's) has none.
        annotation_keys: What each annotation must have, ``image_id`` aside.

    Returns:
        Its content.

    Raises:
        DataError: If it is not JSON, a list or a key is missing, or an id or category name comes twice.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a COCO annotation file: a {type(content).__name__}, not a dict")
    images = _entries(content, "images", ("id", "file_name", "width", "height"), path)
    categories = _entries(content, "categories", ("id", "name"), path)
    annotations: list[dict[str, Any]] = []
    if "annotations" in content:
        annotations = _entries(content, "annotations", ("image_id", *annotation_keys), path)
    _unique((image["id"] for image in images), "image id", path)
    _unique((category["id"] for category in categories), "category id", path)
    _unique((category["name"] for category in categories), "category name", path)
    return CocoFile(path, images, categories, annotations)


def _entries(content: dict[str, Any], key: str, needed: Iterable[str], path: str) -> list[dict[str, Any]]:
    """Return the list under ``key`` whose entries all have the ``needed`` keys."""
    entries = content.get(key)
    if not isinstance(entries, list):
        raise DataError(
            f"{path} is not a COCO annotation file: no list {key!r} among {', '.join(content) or 'no keys'}"
        )
    needed = set(needed)
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not needed <= entry.keys():
            has = ", ".join(entry) if isinstance(entry, dict) else repr(entry)
            lacks = ", ".join(sorted(needed - set(entry))) if isinstance(entry, dict) else ", ".join(sorted(needed))
            raise DataError(f"{path}: {key}[{number}] lacks {lacks}; it has {has}")
        for name in needed & _KINDS.keys():
            right, wanted = _KINDS[name]
            if not right(entry[name]):
                raise DataError(f"{path}: {key}[{number}]: {name} must be {wanted}, got {_short(entry[name])}")
    return entries


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


_ID = _is_id, "a whole number or text"
_SIDE = _is_side, "a positive whole number of pixels"
_KINDS = {"id": _ID, "image_id": _ID, "category_id": _ID, "width": _SIDE, "height": _SIDE}
_KINDS |= {"file_name": (_is_name, "text"), "name": (_is_name, "text")}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def path_inside(folder: str, name: str, source: str) -> str:
    """Return the path of a file that an annotation file names, relative to a folder.

    Args:
        folder: What the name is relative to; empty: the current one.
        name: A relative path, or an absolute one within the folder.
        source: The annotation file.

    Raises:
        DataError: If the name leads out of the folder.
    """
    path = os.path.join(folder, name)
    if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
        root, full = (os.path.abspath(p) for p in (folder, path))
        if full != root and not full.startswith(root.rstrip(os.sep) + os.sep):
            raise DataError(f"{source}: file_name {_short(name)} leads out of the folder {folder or root}")
    return path


def _unique(values: Iterable[Any], what: str, path: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise DataError(f"{path}: the {what} {value!r} comes twice")
        seen.add(value)
