"""``init_cfg=dict(type='Pretrained', …)`` through our loader: official files of a backbone fit by name, or say why not.

mmengine's initialiser of that name knows one wrapper key, ignores every key that does not fit and may unpickle.
"""

from __future__ import annotations

from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from foveal.backbones.catalog import CATALOG
from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.zoo.load import load_backbone


# in mmengine's own table, since init_weights() is also called outside our scope
@WEIGHT_INITIALIZERS.register_module(name="Pretrained", force=True)
class Pretrained:
    """Load a part of a model from a file (mmengine's name and arguments).

    Args:
        checkpoint: Path, URL or ``torchvision://resnet50``.
        prefix: Only keys below this, such as ``backbone``, without it.
        map_location: Not used: weights are read on the CPU and copied.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Load ``module``.

        Raises:
            CheckpointError: If the file cannot be read, does not fit a backbone of ours, or fits nothing at all.
        """
        families = {variant.backbone["type"] for variant in CATALOG.values()}
        if self.prefix in (None, "backbone", "backbone.") and type(module).__name__ in families:
            load_backbone(module, self.checkpoint)
            return
        state = extract_state_dict(load_checkpoint(self.checkpoint))
        if self.prefix is not None:
            head = self.prefix.rstrip(".") + "."
            state = {key.removeprefix(head): value for key, value in state.items() if key.startswith(head)}
        for line in load_state_dict(module, state, self.checkpoint, strict=False):
            print_log(f"{self.checkpoint}: {line}", logger="current")
