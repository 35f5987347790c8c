"""Pictures of what a data set gives to the network: transformed images with their labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from foveal.data.samplers import SampleIndex, sample_seed
from foveal.visualization.hook import source_image, write_image
from foveal.visualization.sample import draw_sample
from foveal.visualization.sheet import side_by_side


def browse_dataset(dataset: Any, folder: Path, indices: Iterable[int]) -> None:
    """Draw samples after their transforms.

    Args:
        dataset: One of ours; its pipeline ends in PackInputs.
        folder: Where ``<index>_<image name>.png`` are written.
        indices: Which samples.
    """
    for index in indices:
        packed = dataset[SampleIndex(index, sample_seed(0, 0, index))]
        sample, pixels = packed["data_samples"], packed["inputs"]
        name = Path(str(sample.get("img_path") or "image")).stem
        # the network's input, not the file: that is what the labels belong to here
        sample.set_metainfo({"img_path": ""})
        image = source_image(sample, pixels)
        if "gt_img" in sample:
            picture = side_by_side([image, draw_sample(image, sample, which="gt")], ["input", "ground truth"])
        else:
            picture = draw_sample(image, sample, dataset.metainfo, "gt")
        write_image(folder / f"{index:06d}_{name}.png", picture)
