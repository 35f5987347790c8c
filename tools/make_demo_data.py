"""Make ``demo/``: the photographs of COCO 2017 that may be passed on, with their annotations.

``python tools/make_demo_data.py SOURCE`` takes a folder in COCO's layout: ``train2017/`` and ``val2017/`` with the
photographs, ``annotations/instances_*.json``, ``annotations/panoptic_*.json`` and ``annotations/panoptic_*/``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SPLITS = ("train2017", "val2017")
FREE_LICENCES = (4, 5, 7)  # CC BY, CC BY-SA, no known copyright restrictions
LIMIT = 9_500_000  # bytes of all files together; 10 MB with room for the file system's blocks
UNLABELLED = 255

Json = dict[str, Any]


def main() -> None:
    """Read the command line and write the folder anew."""
    parser = argparse.ArgumentParser(description="Make demo/ from a folder with COCO 2017.")
    parser.add_argument("source", type=Path, help="folder with train2017/, val2017/ and annotations/")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (default: demo)")
    arguments = parser.parse_args()
    write_demo(arguments.source, arguments.out)


def write_demo(source: Path, out: Path) -> None:
    """Write photographs, annotations, lists and attribution.

    Args:
        source: Folder in COCO's layout.
        out: Folder to write; what it holds is removed.
    """
    instances, panoptic = (read_free(source, kind) for kind in ("instances", "panoptic"))
    detector, segmentor = pick_for_detector(instances), pick_for_segmentor(panoptic)
    dropped = drop_large(source, instances, detector | segmentor)
    for content in (instances, panoptic):
        keep(content, {image["id"] for image in content["images"]} - dropped)

    if out.exists():
        shutil.rmtree(out)
    annotations = out / "annotations"
    for folder in (out / "images", annotations / "panoptic", annotations / "semantic"):
        folder.mkdir(parents=True)
    for image in instances["images"]:
        shutil.copyfile(source / image["split"] / image["file_name"], out / "images" / image["file_name"])
        mask = mask_name(image)
        shutil.copyfile(source / f"annotations/panoptic_{image['split']}" / mask, annotations / "panoptic" / mask)
    write_semantic(panoptic, annotations)
    write_lists(instances["images"], segmentor, annotations)
    (out / "ATTRIBUTION.md").write_text(attribution(instances))
    for name, content, chosen in (
        ("instances", instances, None),
        ("instances_detector", instances, detector),
        ("panoptic", panoptic, None),
    ):
        write_json(annotations / f"{name}.json", content, chosen)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {len(instances['images'])} photographs, {total / 1e6:.2f} MB")


def read_free(source: Path, kind: str) -> Json:
    """Read both splits of an annotation file as one, with the images of free licences that have masks.

    Args:
        source: Folder in COCO's layout.
        kind: ``instances`` or ``panoptic``.
    """
    merged: Json = {}
    for split in SPLITS:
        content = json.loads((source / f"annotations/{kind}_{split}.json").read_text())
        for image in content["images"]:
            image["split"] = split
        if merged:
            merged["images"] += content["images"]
            merged["annotations"] += content["annotations"]
        else:
            merged = content
    masked = {p.stem for split in SPLITS for p in (source / f"annotations/panoptic_{split}").glob("*.png")}
    free = {
        image["id"]
        for image in merged["images"]
        if image["license"] in FREE_LICENCES and Path(image["file_name"]).stem in masked
    }
    keep(merged, free)
    merged["images"].sort(key=lambda image: image["id"])
    merged["annotations"].sort(key=lambda annotation: annotation["image_id"])
    if kind == "instances":
        for number, annotation in enumerate(merged["annotations"], 1):
            annotation["id"] = number
    return merged


def keep(content: Json, ids: Iterable[int]) -> None:
    """Leave only the images of these ids, and their annotations."""
    wanted = set(ids)
    content["images"] = [image for image in content["images"] if image["id"] in wanted]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in wanted]


def pick_for_detector(instances: Json) -> set[int]:
    """Return the images with one to four objects, each at least 1% of the image, none of them a crowd."""
    objects = defaultdict(list)
    for annotation in instances["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    picked = set()
    for image in instances["images"]:
        area = image["width"] * image["height"]
        found = objects[image["id"]]
        if 1 <= len(found) <= 4 and all(a["area"] >= 0.01 * area and not a["iscrowd"] for a in found):
            picked.add(image["id"])
    return picked


def pick_for_segmentor(panoptic: Json) -> set[int]:
    """Return the images in which every class that occurs has at least 2% of the pixels."""
    sizes = {image["id"]: image["width"] * image["height"] for image in panoptic["images"]}
    picked = set()
    for annotation in panoptic["annotations"]:
        areas: dict[int, int] = defaultdict(int)
        for segment in annotation["segments_info"]:
            areas[segment["category_id"]] += segment["area"]
        if min(areas.values()) >= 0.02 * sizes[annotation["image_id"]]:
            picked.add(annotation["image_id"])
    return picked


def drop_large(source: Path, instances: Json, needed: set[int]) -> set[int]:
    """Return the ids of the largest photographs that are not needed, until the rest fits ``LIMIT``."""
    sizes = {}
    for image in instances["images"]:
        files = (
            source / image["split"] / image["file_name"],
            source / f"annotations/panoptic_{image['split']}" / mask_name(image),
        )
        sizes[image["id"]] = sum(path.stat().st_size for path in files)
    # what is written beside the copies: label maps, JSON, lists
    total = sum(sizes.values()) + 600_000
    dropped = set()
    for image_id in sorted(sizes.keys() - needed, key=lambda i: -sizes[i]):
        if total <= LIMIT:
            break
        dropped.add(image_id)
        total -= sizes[image_id]
    return dropped


def mask_name(image: Json) -> str:
    """Return the name of an image's masks."""
    return f"{Path(image['file_name']).stem}.png"


def write_semantic(panoptic: Json, annotations: Path) -> None:
    """Write label maps, values 0 to 132 in the order of the categories, and the list of their names."""
    label_of = {category["id"]: label for label, category in enumerate(panoptic["categories"])}
    for annotation in panoptic["annotations"]:
        blue_green_red = np.asarray(cv2.imread(str(annotations / "panoptic" / annotation["file_name"])))
        segments = blue_green_red.astype(np.int64) @ np.array([65536, 256, 1])
        labels = np.full(segments.shape, UNLABELLED, np.uint8)
        for segment in annotation["segments_info"]:
            labels[segments == segment["id"]] = label_of[segment["category_id"]]
        path = annotations / "semantic" / annotation["file_name"]
        cv2.imwrite(str(path), labels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    names = [category["name"] for category in panoptic["categories"]]
    write_lines(annotations / "semantic_classes.txt", names)


def write_lists(images: Sequence[Json], segmentor: set[int], annotations: Path) -> None:
    """Write the names of the images that the segmentor and the super-resolver use."""
    stems = {image["id"]: Path(image["file_name"]).stem for image in images}
    write_lines(annotations / "segmentor.txt", [stem for image_id, stem in stems.items() if image_id in segmentor])
    for split, name in zip(SPLITS, ("super_resolver_train", "super_resolver_heldout"), strict=True):
        write_lines(annotations / f"{name}.txt", [stems[i["id"]] for i in images if i["split"] == split])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file."""
    path.write_text("".join(f"{line}\n" for line in lines))


def write_json(path: Path, content: Json, chosen: set[int] | None) -> None:
    """Write an annotation file, of all images or of the chosen ones."""
    content = {**content, "images": [{k: v for k, v in i.items() if k != "split"} for i in content["images"]]}
    if chosen is not None:
        keep(content, chosen)
    path.write_text(json.dumps(content, separators=(",", ":")))


def attribution(instances: Json) -> str:
    """Return the page that names every photograph's licence and source."""
    licences = {licence["id"]: licence for licence in instances["licenses"]}
    used = sorted({image["license"] for image in instances["images"]})
    names = {4: "CC BY 2.0", 5: "CC BY-SA 2.0", 7: "no known copyright restrictions"}
    lines = [
        "# Where the pictures and annotations come from",
        "",
        f"The {len(instances['images'])} photographs in `images/` are from COCO 2017 (https://cocodataset.org), whose",
        "annotation files give each one's licence and its address on Flickr. Only photographs under these licences are",
        "here:",
        "",
        *(f"- {names[i]}: {licences[i]['name']}, {licences[i]['url']}" for i in used),
        "",
        "The rights to a photograph are its author's. COCO's files do not name the author; the photograph's page on",
        "Flickr does: `https://www.flickr.com/photo.gne?id=N`, N being the number before the underscore in the file",
        "name of the address below. **Nothing in the images was changed**: the files are COCO's, byte for byte.",
        "",
        "The annotations are by the COCO Consortium (https://cocodataset.org), licensed under CC BY 4.0,",
        "https://creativecommons.org/licenses/by/4.0/. What was changed in them: the files of two splits were joined",
        "and reduced to these photographs; objects in `instances*.json` are the segments of the panoptic annotation",
        "(the visible part of each object), numbered anew; label maps in `semantic/` were computed from `panoptic/`.",
        "",
        "| File | Licence | Source |",
        "| --- | --- | --- |",
        *(
            f"| {image['file_name']} | [{names[image['license']]}]({licences[image['license']]['url']}) "
            f"| {image['flickr_url']} |"
            for image in instances["images"]
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
