"""A head must have as many classes as the data; else a run trains, or scores, something else than its user thinks."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from foveal.errors import ConfigError
from foveal.registry import HOOKS

# they tell objects from background whatever the classes are
_CLASS_AGNOSTIC = ("rpn_head",)


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Compare ``num_classes`` of every head with the classes of the data set (mmdet's name)."""

    def before_train(self, runner: Any) -> None:
        """Check against the training data."""
        self._check(runner, runner.train_dataloader.dataset)

    def before_test(self, runner: Any) -> None:
        """Check against the test data."""
        self._check(runner, runner.test_dataloader.dataset)

    def _check(self, runner: Any, dataset: Any) -> None:
        classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
        if not classes:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name, module in model.named_modules():
            count = getattr(module, "num_classes", None)
            is_head = name.rpartition(".")[2].endswith("head") and name.rpartition(".")[2] not in _CLASS_AGNOSTIC
            if is_head and isinstance(count, int) and count != len(classes):
                shown = ", ".join(classes[:20]) + (" …" if len(classes) > 20 else "")
                raise ConfigError(
                    f"model.{name}.num_classes is {count}, "
                    f"but {type(dataset).__name__} has {len(classes)} classes: {shown}{_first_beyond(dataset, count)}"
                )


def _first_beyond(dataset: Any, count: int) -> str:
    """Name the first object whose label the head lacks; nothing where there is none, or labels are not boxes'."""
    for index in range(len(dataset)):
        record = dataset.get_data_info(index)
        for instance in record.get("instances", ()):
            if instance["bbox_label"] >= count:
                annotation = f"annotation {instance['id']}" if instance.get("id") is not None else "a box"
                return f"; {annotation} of {record['img_path']} has label {instance['bbox_label']}"
    return ""
