"""Mamba-YOLO (Wang et al., AAAI 2025, arXiv:2406.05835): a one-stage detector that reads the official keys."""

from __future__ import annotations

from typing import Any

from foveal.models.detector import SingleStageDetector
from foveal.registry import MODELS

# the official network is one numbered list; a name that ends with a point is that of a list without its number
LAYERS = {
    0: "backbone.stem",
    1: "backbone.stages.0.",
    2: "backbone.merges.0",
    3: "backbone.stages.1.",
    4: "backbone.merges.1",
    5: "backbone.stages.2.",
    6: "backbone.merges.2",
    7: "backbone.stages.3.",
    8: "backbone.pool",
    11: "neck.top_down_blocks.0",
    14: "neck.top_down_blocks.1",
    15: "neck.downsamples.0",
    17: "neck.bottom_up_blocks.0",
    18: "neck.downsamples.1",
    20: "neck.bottom_up_blocks.1",
    21: "bbox_head",
}


@MODELS.register_module()
class MambaYOLO(SingleStageDetector):
    """Mamba-YOLO; arguments are those of `SingleStageDetector`.

    The state dict may be that of https://github.com/HZAI-ZJNU/Mamba-YOLO, ``model.0.`` to ``model.21.``.
    """

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Rename the official network's layers."""
        state_dict.pop(f"{prefix}model.21.dfl.conv.weight", None)  # the numbers 0 to 15
        for key in [key for key in state_dict if key.startswith(f"{prefix}model.")]:
            number, rest = key.removeprefix(f"{prefix}model.").split(".", 1)
            name = LAYERS.get(int(number)) if number.isdigit() else None
            if name is None:
                continue
            if name.endswith("."):  # the file has no list where there is one block
                name = name[:-1] if rest[0].isdigit() else f"{name}0"
            if name == "backbone.pool":
                rest = rest.replace("cv1.", "conv1.").replace("cv2.", "conv2.")
            for norm in ("norm", "norm2"):
                rest = rest.replace(f"{norm}.norm.", f"{norm}.")
            state_dict[f"{prefix}{name}.{rest}"] = state_dict.pop(key)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self.adapt_state_dict(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
