"""mmengine's Runner with our checkpoints: written whole or not at all, read without pickle, resumed exactly."""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.logging import HistoryBuffer
from mmengine.model import convert_sync_batchnorm, is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import Runner as MMRunner
from torch import nn
from torch.utils.data import DataLoader

import foveal
from foveal.engine import checkpoint as ckpt
from foveal.engine import mmengine_loading
from foveal.engine.accumulation import restore_gradients, waiting_gradients
from foveal.engine.compiling import compile_network
from foveal.engine.cpu_sync_norm import synchronise_on_cpus
from foveal.engine.faults import start_worker
from foveal.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from foveal.engine.random_state import random_state
from foveal.engine.sharding import is_sharded, parts_of_optimizer, parts_of_state, shard, whole
from foveal.errors import CheckpointError, ConfigError
from foveal.registry import MODEL_WRAPPERS

# A resumed run needs recent values only: log windows are short, and whole histories would grow every checkpoint.
_HISTORY = 10_000


class Runner(MMRunner):
    """Trains, validates and tests what a config describes; arguments are those of ``mmengine.runner.Runner``.

    Changed from mmengine: `save_checkpoint`, `load_checkpoint` and `resume` (our files, exact to the iteration), the
    two training loops (they start in the middle of an epoch), ``compile`` (of the network, not of a whole step), and a
    shorter greeting in the log.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        mmengine_loading.install()
        super().__init__(*args, **kwargs)
        # a second of work for a large config: once a run, not once a checkpoint
        self._config_text = self.cfg.pretty_text

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """As mmengine's, but workers end that can give no batch, and nothing is drawn to start an iteration.

        Else, with the global random generator, a validation, or a resume in the middle of an epoch, would shift every
        later random number of the model.
        """
        loader = MMRunner.build_dataloader(*args, **kwargs)
        loader.generator = torch.Generator()
        loader.worker_init_fn = partial(start_worker, loader.worker_init_fn)
        return loader

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> nn.Module:
        """As mmengine's; alone, with SyncBN as BN and without a line about it in every log; on CPUs, with SyncBN.

        ``model_wrapper_cfg=dict(type="FSDP2", blocks=("SwinBlock",))`` shares the weights, see `shard`.

        Raises:
            ConfigError: If ``sync_bn`` is another word than ``torch``, or weights cannot be shared as the config says.
        """
        sync_bn = self.cfg.get("sync_bn")
        if sync_bn not in (None, "torch"):
            raise ConfigError(f"sync_bn must be 'torch', which makes a SyncBN of every batch norm, got {sync_bn!r}")
        model = model.to(get_device())
        if not self.distributed:
            return revert_sync_batchnorm(model)
        settings = dict(model_wrapper_cfg or {})
        sharded, on_cpu = settings.get("type") == "FSDP2", get_device() == "cpu"
        if not (sharded or on_cpu):
            return super().wrap_model(model_wrapper_cfg, model)
        if sync_bn:
            model = convert_sync_batchnorm(model)
        if on_cpu:
            synchronise_on_cpus(model)
        if sharded:
            return self._share(settings, model)
        # mmengine's own default asks for a GPU
        settings.setdefault("type", "MMDistributedDataParallel")
        settings.setdefault("broadcast_buffers", False)
        settings.setdefault("find_unused_parameters", self.cfg.get("find_unused_parameters", False))
        return MODEL_WRAPPERS.build({**settings, "module": model})

    def _share(self, settings: dict[str, Any], model: Any) -> nn.Module:
        if set(settings) != {"type", "blocks"} or not isinstance(settings["blocks"], (list, tuple)):
            raise ConfigError(
                "model_wrapper_cfg of type FSDP2 has blocks, classes of modules that are gathered one at a time, "
                f"such as blocks=('SwinBlock',), and no other key; got {settings}"
            )
        if any("EMAHook" in str(hook.get("type")) for hook in self.cfg.get("custom_hooks") or []):
            raise ConfigError("model_wrapper_cfg.type='FSDP2' shares the weights; EMAHook cannot average parts of them")
        if self._train_dataloader is not None:
            model.init_weights()
        shard(model, settings["blocks"])
        return model

    def _init_model_weights(self) -> None:
        """As mmengine's; parts of weights were initialised while they were whole."""
        if not is_sharded(self.model):
            super()._init_model_weights()

    def _maybe_compile(self, target: str) -> None:
        """Compile the network, not the step as mmengine does, for ``compile=True`` or arguments of ``torch.compile``.

        Raises:
            ConfigError: If ``compile`` is something else, or torch does not take it.
        """
        options = self.cfg.get("compile")
        if not options:
            return
        if options is not True and not isinstance(options, dict):
            raise ConfigError(f"compile must be True or a dict of arguments of torch.compile, got {options!r}")
        arguments = {} if options is True else options
        try:
            parts = compile_network(self._network, **arguments)
        except (RuntimeError, TypeError) as error:
            raise ConfigError(f"compile={options!r}: {str(error).splitlines()[0]}") from error
        self.logger.info(f"compiled, when they first run: {', '.join(parts)}")

    def build_train_loop(self, loop: Any) -> Any:
        """Build our loop for ``dict(by_epoch=…)`` or a named one, from the config's ``train_cfg``."""
        if isinstance(loop, dict) and "type" not in loop:
            options = dict(loop)
            kind = EpochBasedTrainLoop if options.pop("by_epoch", True) else IterBasedTrainLoop
            return kind(self, self._train_dataloader, **options)
        return super().build_train_loop(loop)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """As mmengine's; a schedule that begins after the last iteration is the config's mistake.

        Raises:
            ConfigError: If a schedule does not fit the length of the run.
        """
        try:
            return super().build_param_scheduler(scheduler)
        except ValueError as error:
            raise ConfigError(f"param_scheduler does not fit a run of {self.max_iters} iterations: {error}") from error

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write everything that `resume` needs to ``out_dir/filename``, through a temporary name.

        Args:
            out_dir: Folder, made if missing.
            filename: Name in it.
            file_client_args: Not used; mmengine's signature.
            save_optimizer: Keep the optimiser's state (and the gradient scaler's, and gradients that await its step).
            save_param_scheduler: Keep the schedulers' state.
            meta: More plain values for the checkpoint's ``meta``.
            by_epoch: True when called at the end of an epoch, False after an iteration.
            backend_args: Not used; mmengine's signature.
        """
        sharded = is_sharded(self.model)
        # all processes give theirs
        gradients = waiting_gradients(self._network, self.optim_wrapper) if save_optimizer else {}
        if not (sharded or is_main_process()):
            return
        content: dict[str, Any] = {
            "meta": {
                "epoch": self.epoch + 1 if by_epoch else self.epoch,
                "iter": self.iter if by_epoch else self.iter + 1,
                "cfg": self._config_text,
                "seed": self.seed,
                "time": time.strftime("%Y-%m-%d %H:%M:%S"),
                "foveal_version": foveal.__version__,
                "run": self._identity(),
                "dataset_meta": plain_metainfo(getattr(self.train_dataloader.dataset, "metainfo", {})),
                **(meta or {}),
            },
            "state_dict": self._network.state_dict(),
            "message_hub": _hub_state(self.message_hub),
            "random": random_state(),
        }
        if save_optimizer:
            content["optimizer"] = self.optim_wrapper.state_dict()
        if gradients:
            content["gradients"] = gradients
        if save_param_scheduler and self.param_schedulers is not None:
            content["param_schedulers"] = [_scheduler_state(s) for s in self.param_schedulers]
        if sharded:
            content = whole(content)  # all processes give their parts
            if not is_main_process():
                return
        self.call_hook("before_save_checkpoint", checkpoint=content)
        ckpt.save_checkpoint(content, Path(out_dir) / filename)

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = ()
    ) -> dict[str, Any]:
        """Load a checkpoint's weights into the model.

        Args:
            filename: Path, URL or torchvision name.
            map_location: Device name.
            strict: Refuse any missing, unexpected or wrong-shape key.
            revise_keys: Not used; mmengine's signature.

        Returns:
            The whole checkpoint.

        Raises:
            CheckpointError: If it cannot be read or does not fit; the message lists the keys.
        """
        content = ckpt.load_checkpoint(filename, map_location if isinstance(map_location, str) else "cpu")
        self.call_hook("after_load_checkpoint", checkpoint=content)
        model = self._network
        try:
            state = ckpt.extract_state_dict(content)
            state = parts_of_state(state, model) if is_sharded(model) else state
            differences = ckpt.load_state_dict(model, state, filename, strict)
        except CheckpointError as error:
            raise (
                CheckpointError(f"{error}\n(as load_from, with load_partial=True, it loads what fits)")
                if strict
                else error
            ) from None
        for line in differences:
            self.logger.warning(line)
        self._has_loaded = True
        self.logger.info(f"loaded {filename}")
        return content

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = "default",
    ) -> None:
        """Go on from a checkpoint as if the run had never stopped.

        Args:
            filename: A checkpoint that `save_checkpoint` wrote.
            resume_optimizer: Restore the optimiser.
            resume_param_scheduler: Restore the schedulers.
            map_location: Device name; default: the model's.

        Raises:
            CheckpointError: If it does not fit the model, or was written by another program.
        """
        content = self.load_checkpoint(filename, get_device() if map_location == "default" else map_location)
        if "random" not in content or "optimizer" not in content:
            raise CheckpointError(f"{filename} holds weights only: use it as load_from, it cannot be resumed")
        meta = content["meta"]
        before, now = meta.get("run") or {}, self._identity()
        check_same_run(before, now, filename)
        self.train_loop._epoch, self.train_loop._iter = meta["epoch"], meta["iter"]
        self._rescale(before, now)
        self._resume_seed(meta["seed"])
        check_classes(content, self.train_dataloader.dataset, filename)
        _restore_hub(self.message_hub, content["message_hub"])
        if resume_optimizer:
            state = content["optimizer"]
            sharded = is_sharded(self.model)
            self.optim_wrapper.load_state_dict(
                parts_of_optimizer(state, self.optim_wrapper.optimizer) if sharded else state
            )
            if before == now and "gradients" in content:
                restore_gradients(self._network, content["gradients"])
                # mmengine says that they are lost
                self.logger.addFilter(lambda record: "gradient of some iterations is lost" not in record.getMessage())
        if resume_param_scheduler and self.param_schedulers is not None:
            for scheduler, state in zip(self.param_schedulers, content.get("param_schedulers", []), strict=True):
                scheduler.load_state_dict(state)
        self.train_loop.resumed_random_state = content["random"]
        self.logger.info(f"resumed from {filename} at epoch {meta['epoch']}, iteration {meta['iter']}")

    @property
    def _network(self) -> nn.Module:
        """The model without what wraps it for several processes."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def _identity(self) -> dict[str, Any]:
        """What makes a run another one, beside the model, and what makes its batches others."""
        loader = self.train_dataloader
        optimizer = getattr(self.optim_wrapper, "optimizer", None)
        return {
            "optimizer": type(optimizer).__name__,
            "training data": f"{type(loader.dataset).__name__} of {len(loader.dataset)} samples",
            "batches": len(loader),
            "processes": get_world_size(),
            "iterations a step": getattr(self.optim_wrapper, "_accumulative_counts", 1),
        }

    def _rescale(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Go on at the same share of the epoch where batches are larger or smaller than they were."""
        if before.get("batches", now["batches"]) == now["batches"]:
            return
        self.logger.warning(
            f"{before['batches']} batches an epoch on {before['processes']} processes became {now['batches']} on "
            f"{now['processes']}: the run goes on at the same share of the epoch, not exactly as it would have"
        )
        if isinstance(self.train_loop, EpochBasedTrainLoop):
            done = self.train_loop._iter - self.train_loop._epoch * before["batches"]
            share = done / before["batches"]
            self.train_loop._iter = self.train_loop._epoch * now["batches"] + round(share * now["batches"])

    def load_or_resume(self) -> None:
        """Resume from ``load_from`` or, with ``resume=True`` alone, from what ``work_dir/last_checkpoint`` names."""
        if self._has_loaded:
            return
        if self._resume:
            source = self._load_from or find_last_checkpoint(self.work_dir)
            if source is None:
                self.logger.info(f"nothing to resume in {self.work_dir}: starting from the beginning")
                return
            self.resume(str(source))
        elif self._load_from is not None:
            content = self.load_checkpoint(self._load_from, strict=not self.cfg.get("load_partial", False))
            if self._train_loop is None:
                check_classes(content, self.test_dataloader.dataset, self._load_from)

    def _resume_seed(self, seed: int) -> None:
        """Give the samplers the seed of the first start; it is drawn anew where the config has none."""
        loader = self.train_dataloader
        samplers: tuple[Any, Any] = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
        for sampler in samplers:
            if hasattr(sampler, "seed"):
                sampler.seed = seed
        self._randomness_cfg["seed"] = seed
        self.set_randomness(**self._randomness_cfg)

    def _log_env(self, env_cfg: dict) -> None:
        """One line; the whole config is written to the run's folder, not into the log."""
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
        self.logger.info(
            f"foveal {foveal.__version__}, torch {torch.__version__}, {where}, seed {self.seed}; "
            f"run folder {self.work_dir}"
        )

    def get_hooks_info(self) -> str:
        """Return the hooks in the order in which they run, one line."""
        return ", ".join(type(hook).__name__ for hook in self.hooks)


def find_last_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the checkpoint that ``work_dir/last_checkpoint`` names, or None where there is none yet.

    Raises:
        CheckpointError: If the file that it names is gone.
    """
    pointer = Path(work_dir) / ckpt.POINTER
    return ckpt.pointed_to(pointer) if pointer.is_file() else None


def check_same_run(before: dict[str, Any], now: dict[str, Any], source: str | Path) -> None:
    """Refuse to go on with another optimiser or with other data; an older file does not say what it had.

    Raises:
        CheckpointError: If they differ; names what.
    """
    keys = [key for key in ("optimizer", "training data") if before.get(key, now[key]) != now[key]]
    if keys:
        differing = "; ".join(f"{key}: {before[key]} then, {now[key]} now" for key in keys)
        raise CheckpointError(
            f"{source} is of another run, which cannot be resumed here ({differing}); as load_from, it begins a new one"
        )


def check_classes(content: dict[str, Any], dataset: Any, source: str | Path) -> None:
    """Compare the classes that a checkpoint was trained on with those of a data set.

    Raises:
        CheckpointError: If both are known and differ; the message has both lists.
    """
    meta = content.get("meta") or {}
    trained = (meta.get("dataset_meta") or {}).get("classes") if isinstance(meta, dict) else None
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    if trained and classes and list(trained) != list(classes):
        raise CheckpointError(
            f"{source} was trained on {len(trained)} classes ({', '.join(trained)}), "
            f"the data has {len(classes)} ({', '.join(classes)})"
        )


def plain_metainfo(metainfo: Any) -> dict[str, Any]:
    """Keep the plain entries (classes, palette …) of a data set's metainfo."""
    kept = {}
    for key, value in dict(metainfo or {}).items():
        try:
            kept[key] = ckpt.to_plain(value)
        except TypeError:
            continue
    return kept


def _scheduler_state(scheduler: Any) -> dict[str, Any]:
    """A scheduler's numbers; functions that it holds are made anew by its constructor."""
    return {key: value for key, value in scheduler.state_dict().items() if not callable(value)}


def _hub_state(hub: Any) -> dict[str, Any]:
    scalars = {}
    for name, buffer in hub.log_scalars.items():
        history, counts = buffer.data
        scalars[name] = (torch.as_tensor(history[-_HISTORY:].copy()), torch.as_tensor(counts[-_HISTORY:].copy()))
    info = {}
    for key, value in hub.runtime_info.items():
        try:
            info[key] = ckpt.to_plain(value)
        except TypeError:
            continue
    return {"log_scalars": scalars, "runtime_info": info}


def _restore_hub(hub: Any, state: dict[str, Any]) -> None:
    for name, (history, counts) in state["log_scalars"].items():
        hub.log_scalars[name] = HistoryBuffer(history.tolist(), counts.tolist())
    hub._runtime_info = OrderedDict(state["runtime_info"])
