"""Several processes that train one model: found by what started them, joined, and held to be alike."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

import foveal
from foveal.errors import ConfigError

# torchrun's default
PORT = "29500"
# what starts the processes, and its names for rank, number of processes, and rank on the node
_NAMES = {
    "slurm": ("srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}


def join_group(launcher: str, dist_cfg: dict[str, Any] | None = None) -> None:
    """Join the group of processes that a launcher started.

    Args:
        launcher: ``pytorch``: torchrun. ``slurm``: srun, one task a GPU. ``mpi``: Open MPI's mpirun, the same.
        dist_cfg: mmengine's ``env_cfg.dist_cfg``: ``backend`` on GPUs (nccl; without a GPU it is gloo) and ``timeout``
            in seconds.

    Raises:
        ConfigError: If the process was started otherwise, rank 0 cannot be reached, its port is taken, or the processes
            have other versions of torch or Foveal.
    """
    if launcher in _NAMES:
        os.environ.update(_translated(launcher, dict(os.environ)))
    if "RANK" not in os.environ:
        raise ConfigError("--launcher pytorch needs torchrun: torchrun --nproc-per-node N tools/train.py CONFIG …")
    own = dist_cfg or {}
    if not distributed.is_initialized():
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        try:
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            store, rank, world_size = next(iter(distributed.rendezvous("env://")))
            # torchrun keeps its store when it starts the processes again, with the addresses of those that died in it
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            distributed.init_process_group(
                own.get("backend", "nccl") if torch.cuda.is_available() else "gloo",
                store=distributed.PrefixStore(f"attempt {attempt}", store),
                rank=rank,
                world_size=world_size,
                timeout=timedelta(seconds=own["timeout"]) if "timeout" in own else None,
            )
        except (distributed.DistNetworkError, distributed.DistStoreError) as error:
            if "EADDRINUSE" in str(error) or "address already in use" in str(error):
                raise ConfigError(f"{where} is taken by another program: set MASTER_PORT to a free port") from error
            raise ConfigError(f"cannot join the processes at {where}: {str(error).splitlines()[0]}") from error
    check_alike(f"torch {torch.__version__}, foveal {foveal.__version__}")


def leave_group() -> None:
    """Leave the group, if there is one: threads of gloo that live when the interpreter ends can abort the process."""
    if distributed.is_initialized():
        gc.collect()  # a model that is wrapped for the group keeps it
        distributed.destroy_process_group()


def check_alike(versions: str) -> None:
    """Refuse processes whose software differs: they would train different models without a word.

    Args:
        versions: This process's.

    Raises:
        ConfigError: On every process, with the ranks of each kind.
    """
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, versions)
    ranks: dict[str, list[int]] = {}
    for rank, text in enumerate(found):
        ranks.setdefault(text, []).append(rank)
    if len(ranks) > 1:
        kinds = "; ".join(f"{text} on rank {', '.join(map(str, own))}" for text, own in ranks.items())
        raise ConfigError(f"the processes have different software: {kinds}")


def _translated(launcher: str, environment: dict[str, str]) -> dict[str, str]:
    """Torchrun's variables from those of another launcher."""
    command, *names = _NAMES[launcher]
    missing = [name for name in names if name not in environment]
    if missing:
        raise ConfigError(f"--launcher {launcher} needs {command}, which sets {', '.join(missing)}")
    found = dict(zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), (environment[name] for name in names), strict=True))
    address = environment.get("MASTER_ADDR") or (_first_node(environment) if launcher == "slurm" else "127.0.0.1")
    return {**found, "MASTER_ADDR": address, "MASTER_PORT": environment.get("MASTER_PORT", PORT)}


def _first_node(environment: dict[str, str]) -> str:
    """The host of rank 0, by Slurm's own command."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST", "")
    if shutil.which("scontrol") is None:
        raise ConfigError(f"--launcher slurm finds no scontrol to tell the first node of {nodes!r}: set MASTER_ADDR")
    names = subprocess.run(["scontrol", "show", "hostname", nodes], capture_output=True, text=True, check=False)
    if not names.stdout.strip():
        raise ConfigError(f"scontrol knows no node of {nodes!r} ({names.stderr.strip()}): set MASTER_ADDR")
    return names.stdout.split()[0]
