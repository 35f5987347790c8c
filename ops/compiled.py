"""The library of C++ kernels for the CPU: as an installation has left it, else built at first use and kept.

The sources in ops/csrc/cpu are written against torch's stable ABI, so one library serves every torch from 2.10 on and
every Python. There is one for each set of instructions that torch tells apart; the processor's own is loaded, and only
that is built at first use.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from foveal.cache import alone_with, home

CSRC = Path(__file__).resolve().parent / "csrc"
LEVELS = {"AVX512": ["-march=x86-64-v4"], "AVX2": ["-march=x86-64-v3"], "DEFAULT": []}
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",  # the ABI of torch 2.10, our oldest
]


@functools.cache
def load() -> str | None:
    """Load the kernels as ``torch.ops.foveal_cpp``, building them if need be.

    Returns:
        None, or a sentence on why there are none. Nothing is raised: a slower backend serves.
    """
    level = torch.backends.cpu.get_cpu_capability()
    level = level if level in LEVELS else "DEFAULT"
    try:
        torch.ops.load_library(str(find(level) or build(level)))
    except (OSError, BuildError) as error:
        return f"the C++ kernels are not there: {error}"
    return None


class BuildError(RuntimeError):
    """The kernels cannot be built."""


def find(level: str) -> Path | None:
    """Return the library that an installation or ``python setup.py build_ext`` has left beside the sources."""
    ready = CSRC / name_of(level)
    return ready if ready.is_file() else None


def name_of(level: str) -> str:
    """Return the library's file name."""
    return f"foveal_cpp_{level.lower()}.so"


def build(level: str) -> Path:
    """Build the library for one set of instructions into the cache, unless it is there.

    Args:
        level: A key of ``LEVELS``.

    Returns:
        The library in ``$FOVEAL_HOME/ops`` (default: ~/.cache/foveal/ops), in a folder named after the sources, the
        flags and the compiler.

    Raises:
        BuildError: If there is no compiler, it fails, or ``FOVEAL_OPS_BUILD=0`` forbids it.
    """
    check_allowed()
    compiler = _compiler()
    name = Path(fingerprint(compiler, [*FLAGS, *LEVELS[level]], CSRC / "cpu"), name_of(level))
    return kept(name, "C++ kernels", lambda target: compile_library(compiler, _sources(), level, target))


def check_allowed() -> None:
    """Refuse to build where the user forbids it.

    Raises:
        BuildError: If ``FOVEAL_OPS_BUILD=0``.
    """
    if os.environ.get("FOVEAL_OPS_BUILD") == "0":
        raise BuildError("FOVEAL_OPS_BUILD=0 forbids to build them")


def kept(name: Path, what: str, make: Callable[[Path], None]) -> Path:
    """Return a library in the cache, which one process makes if it is not there while others wait.

    Args:
        name: Below ``$FOVEAL_HOME/ops``: a folder and a file.
        what: The kernels in it, in words.
        make: Builds the file that it is given.

    Raises:
        BuildError: If it cannot be made or written.
    """
    target = home() / "ops" / name
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_with(target):
            if not target.is_file():
                warnings.warn(f"building the {what} once, into {target.parent}: about a minute", stacklevel=3)
                make(target)
    except OSError as error:
        raise BuildError(f"{target.parent} cannot be written: {error}") from error
    return target


def build_ahead() -> list[Path]:
    """Build the library for every set of instructions of this processor's kind, beside the sources.

    Returns:
        The libraries, which a wheel made afterwards takes along.

    Raises:
        BuildError: If there is no compiler or it fails.
    """
    levels = list(LEVELS) if platform.machine() in ("x86_64", "AMD64") else ["DEFAULT"]
    for level in levels:
        compile_library(_compiler(), _sources(), level, CSRC / name_of(level))
    return [CSRC / name_of(level) for level in levels]


def compile_library(compiler: str, sources: Sequence[Path], level: str, target: Path) -> None:
    """Compile the sources side by side, link them under a temporary name and rename.

    Args:
        compiler: g++ or clang++, with its path.
        sources: C++ files.
        level: A key of ``LEVELS``.
        target: The library.

    Raises:
        BuildError: If the compiler fails; has the end of what it said.
    """
    root = Path(torch.__file__).resolve().parent
    includes = [f"-I{root / 'include'}", f"-I{CSRC}"]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]
        run_all(
            [compiler, *FLAGS, *LEVELS[level], *includes, "-c", str(source), "-o", str(out)]
            for source, out in zip(sources, objects, strict=True)
        )
        whole = Path(folder) / target.name
        libraries = [f"-L{root / 'lib'}", "-ltorch_cpu"]
        run_all([[compiler, "-shared", *map(str, objects), *libraries, "-o", str(whole)]])
        os.replace(whole, target)


def _compiler() -> str:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("there is no C++ compiler (g++ or clang++) to build them with")
    return compiler


def _sources() -> list[Path]:
    return sorted((CSRC / "cpu").glob("*.cpp"))


def run_all(commands: Iterable[list[str]]) -> None:
    """Run the commands at once; raise with what the first that failed said."""
    started = [
        (command, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for command in commands
    ]
    for command, process, said in [(command, process, process.communicate()[0]) for command, process in started]:
        if process.returncode:
            raise BuildError(f"{' '.join(command)} failed:\n{said[-2000:]}")


def fingerprint(compiler: str, flags: Sequence[str], folder: Path) -> str:
    """Return sixteen letters that change when a library of the folder's sources would."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    digest = hashlib.sha256(repr((version, list(flags))).encode())
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
