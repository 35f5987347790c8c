"""The library of CUDA C++ kernels: as an installation has left it, else built at first use on a GPU and kept.

The sources in ops/csrc/cuda are written against torch's stable ABI, as those for the CPU are. The CUDA runtime is
linked in, so that the library does not depend on which of its releases torch brings.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from foveal.ops.compiled import CSRC, BuildError, check_allowed, fingerprint, kept, run_all

NAME = "foveal_cuda.so"
AHEAD = ("80", "90", "100")  # what a library that is built ahead of time runs on: A100, H100, B200 and what follows
FLAGS = [
    "-std=c++17",
    "-O3",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
    "-DUSE_CUDA",  # torch's header then declares the functions for streams
    "-DTORCH_TARGET_VERSION=0x020a000000000000",  # the ABI of torch 2.10, our oldest
]


@functools.cache
def load() -> str | None:
    """Load the kernels as ``torch.ops.foveal_cuda``, building them for the present GPU if need be.

    Returns:
        None, or a sentence on why there are none. Nothing is raised: another backend serves.
    """
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "the CUDA kernels need an NVIDIA GPU and a torch that is built for it"
    ready = CSRC / NAME
    try:
        torch.ops.load_library(str(ready if ready.is_file() else build()))
    except (OSError, BuildError) as error:
        return f"the CUDA kernels are not there: {error}"
    return None


def build() -> Path:
    """Build the library for the GPUs of this machine into the cache, unless it is there.

    Returns:
        The library in ``$FOVEAL_HOME/ops``, in a folder named after the sources, the flags, the GPUs and the compiler.

    Raises:
        BuildError: If there is no nvcc, it fails, or ``FOVEAL_OPS_BUILD=0`` forbids it.
    """
    check_allowed()
    compiler = nvcc()
    if compiler is None:
        raise BuildError("there is no nvcc to build them with; CUDA_HOME may say where it is")
    capabilities = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    targets = targets_of([f"{major}{minor}" for major, minor in sorted(capabilities)])
    name = Path(fingerprint(compiler, [*FLAGS, *targets], CSRC / "cuda"), NAME)
    return kept(name, "CUDA kernels", lambda target: compile_library(compiler, targets, target))


def build_ahead() -> list[Path]:
    """Build the library for the GPUs of ``AHEAD`` beside the sources, where there is nvcc.

    Returns:
        The library, in a list; an empty list without nvcc.

    Raises:
        BuildError: If nvcc fails.
    """
    compiler = nvcc()
    if compiler is None:
        return []
    compile_library(compiler, targets_of(AHEAD), CSRC / NAME)
    return [CSRC / NAME]


def nvcc() -> str | None:
    """Return CUDA's compiler: that of ``CUDA_HOME``, else the one on the path, else None."""
    home = os.environ.get("CUDA_HOME")
    return shutil.which("nvcc", path=str(Path(home) / "bin")) if home else shutil.which("nvcc")


def targets_of(architectures: Sequence[str]) -> list[str]:
    """Return the flags for these compute capabilities; the last one's code serves later GPUs too."""
    flags = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in architectures]
    return [*flags, f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}"]


def compile_commands(compiler: str, targets: Sequence[str], folder: Path) -> dict[Path, list[str]]:
    """Return the object file of each source, in ``folder``, with the command that compiles it."""
    root = Path(torch.__file__).resolve().parent
    return {
        folder / f"{source.stem}.o": [
            *[compiler, *FLAGS, *targets, f"-I{root / 'include'}"],
            *["-c", str(source), "-o", str(folder / f"{source.stem}.o")],
        ]
        for source in sorted((CSRC / "cuda").glob("*.cu"))
    }


def compile_library(compiler: str, targets: Sequence[str], target: Path) -> None:
    """Compile the sources side by side, link them under a temporary name and rename.

    Args:
        compiler: nvcc, with its path.
        targets: What :func:`targets_of` returns.
        target: The library.

    Raises:
        BuildError: If nvcc fails; has the end of what it said.
    """
    # libtorch needs libtorch_cuda wherever that is, which has the functions for streams; a torch for the CPU lacks it
    libraries = [
        f"-L{Path(torch.__file__).resolve().parent / 'lib'}",
        "-Xlinker=--no-as-needed",
        "-ltorch",
        "-ltorch_cpu",
    ]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        commands = compile_commands(compiler, targets, Path(folder))
        run_all(commands.values())
        whole = Path(folder) / target.name
        run_all([[compiler, "-shared", "-cudart=static", *map(str, commands), *libraries, "-o", str(whole)]])
        os.replace(whole, target)
