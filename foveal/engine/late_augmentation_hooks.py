"""Hooks for the last epochs of a training, when its strong augmentation ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch.utils.data import DataLoader

from foveal.data.base import Dataset, build_pipeline
from foveal.errors import ConfigError
from foveal.registry import HOOKS


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """Leave out mosaic and mixup and add the L1 loss in the last epochs; mmdet's hook of this name.

    Args:
        num_last_epochs: How many epochs before the end, which comes to one more, as in mmdet.
        skip_type_keys: Names of the transforms that are left out.
    """

    def __init__(
        self, num_last_epochs: int = 15, skip_type_keys: Sequence[str] = ("Mosaic", "RandomAffine", "MixUp")
    ) -> None:
        self.num_last_epochs = num_last_epochs
        self.skip_type_keys = skip_type_keys
        self._switched = False

    def before_train_epoch(self, runner: Any) -> None:
        """Switch, once, also where a run resumes after the switch.

        Raises:
            ConfigError: If the data set mixes no images, or the head has no L1 loss.
        """
        if self._switched or runner.epoch + 1 < runner.max_epochs - self.num_last_epochs:
            return
        dataset = runner.train_dataloader.dataset
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head: Any = getattr(model, "bbox_head", None)
        if not hasattr(dataset, "update_skip_type_keys"):
            raise ConfigError(
                f"YOLOXModeSwitchHook: the training data must be a MultiImageMixDataset, got {type(dataset).__name__}"
            )
        if not hasattr(head, "use_l1"):
            raise ConfigError(f"YOLOXModeSwitchHook: model.bbox_head must be a YOLOXHead, got {type(head).__name__}")
        dataset.update_skip_type_keys(self.skip_type_keys)
        restart_workers(runner.train_dataloader)
        head.use_l1 = True
        self._switched = True
        runner.logger.info(f"from here on without {', '.join(self.skip_type_keys)} and with the L1 loss")


@HOOKS.register_module()
class PipelineSwitchHook(Hook):
    """Give the training data other transforms from an epoch on; mmdet's hook of this name.

    Args:
        switch_epoch: The first epoch with the other transforms, counted from 0.
        switch_pipeline: Configs of them.
    """

    def __init__(self, switch_epoch: int, switch_pipeline: Sequence[dict[str, Any]]) -> None:
        self.switch_epoch = switch_epoch
        self.switch_pipeline = build_pipeline(switch_pipeline)
        self._switched = False

    def before_train_epoch(self, runner: Any) -> None:
        """Switch, once, also where a run resumes after the switch.

        Raises:
            ConfigError: If the data set is a wrapper, which has no such transforms.
        """
        if self._switched or runner.epoch < self.switch_epoch:
            return
        dataset = runner.train_dataloader.dataset
        if not isinstance(dataset, Dataset):
            raise ConfigError(f"PipelineSwitchHook: the training data must not be a {type(dataset).__name__}")
        dataset.pipeline = self.switch_pipeline
        restart_workers(runner.train_dataloader)
        self._switched = True
        runner.logger.info(f"other transforms from epoch {runner.epoch + 1} on")


def restart_workers(loader: DataLoader) -> None:
    """Let the next epoch start new workers: those that persist hold the data set as it was.

    Args:
        loader: A data loader between two epochs.
    """
    loader._iterator = None
