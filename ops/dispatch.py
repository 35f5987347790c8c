"""Which kernel computes an operator: by itself the fastest that can, or the one that is asked for.

An operator lists its kernels, the fastest first, each with a function that says why it cannot compute a tensor, or
None. The reference, which is PyTorch, can always.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from foveal.ops import compiled, compiled_cuda

WhyNot = Callable[[Tensor], str | None]

BACKENDS = ("cuda", "triton", "cpp", "reference")
VARIABLE = "FOVEAL_OPS_BACKEND"

# operator to its kernels, the fastest first
KERNELS: dict[str, dict[str, WhyNot]] = {}


def register(op: str, **kernels: WhyNot) -> None:
    """Make an operator's kernels known.

    Args:
        op: Its name, that of its folder.
        kernels: Backend to a function from the operator's first tensor to a sentence on why the backend cannot compute
            it, or None; the fastest first, without the reference.
    """
    KERNELS[op] = kernels


def choose(op: str, x: Tensor, backend: str | None = None) -> str:
    """Return the backend that computes ``op`` of ``x``.

    Args:
        op: A registered operator.
        x: Its first tensor, whose device and type decide.
        backend: One of ``BACKENDS``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest that can.

    Returns:
        A name in ``BACKENDS``.

    Raises:
        ValueError: If the backend that is asked for is unknown; or, asked for by argument, cannot compute ``x``: says
            why. Where the environment asks for one that cannot, the others are tried, with a warning.
    """
    wanted = backend or os.environ.get(VARIABLE) or None
    kernels = KERNELS[op]
    if wanted is not None:
        source = "backend" if backend else VARIABLE
        if wanted not in BACKENDS:
            raise ValueError(f"{source} must be one of {', '.join(BACKENDS)}, got {wanted!r}")
        reason = why_not(op, x, wanted)
        if reason is None:
            return wanted
        if backend:
            raise ValueError(f"{op}: the backend {wanted!r} cannot compute this: {reason}")
        _warn_once(f"{op}: {VARIABLE}={wanted}, but {reason}; another backend serves")
    for name, check in kernels.items():
        reason = check(x)
        if reason is None:
            return name
        if _library_is_missing(name, x):
            _warn_once(f"{reason}; PyTorch serves, more slowly")
    return "reference"


def asked_for(backend: str | None) -> bool:
    """Whether a backend is asked for, by argument or by the environment."""
    return bool(backend or os.environ.get(VARIABLE))


def why_not(op: str, x: Tensor, backend: str) -> str | None:
    """Return why a backend cannot compute ``op`` of ``x``, or None."""
    if backend == "reference":
        return None
    check = KERNELS[op].get(backend)
    return f"it has no {backend} kernel" if check is None else check(x)


def in_pytorch(op: str, x: Tensor, backend: str | None) -> bool:
    """Whether an operator is to be computed by its reference itself, not by the registered operator.

    A graph that is exported or traced holds standard operators, since whoever reads it does not have ours. A graph that
    is compiled holds the registered operator, which chooses its kernel when it runs. ``torch.func``'s transforms and
    derivatives in forward mode look into the operations, and would miss what a kernel does.
    """
    if torch.compiler.is_exporting():
        return True
    if torch.compiler.is_compiling():
        return False
    return torch.jit.is_tracing() or transformed() or choose(op, x, backend) == "reference"


def in_graph() -> bool:
    """Whether operations are being recorded for a file, exported or traced, where results need fixed shapes."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def transformed() -> bool:
    """Whether a transform of ``torch.func`` or a derivative in forward mode is under way."""
    # torch has no public name for either
    return torch._C._functorch.maybe_current_level() is not None or forward_ad._current_level >= 0


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Record operations for their gradients within a registered operator, where torch records nothing."""
    # enable_grad alone leaves autograd's dispatch keys excluded; inference_mode(False) brings them back
    with torch.inference_mode(False), torch.enable_grad():
        yield


def cpp_why_not(*dtypes: torch.dtype) -> WhyNot:
    """Return the check of a C++ kernel that takes these types."""

    def check(x: Tensor) -> str | None:
        if x.device.type != "cpu":
            return f"the C++ kernels compute on the CPU, the tensor is on {x.device}"
        if x.dtype not in dtypes:
            return f"the C++ kernel takes {', '.join(map(str, dtypes))}, the tensor is {x.dtype}"
        return compiled.load()

    return check


def cuda_why_not(*dtypes: torch.dtype) -> WhyNot:
    """Return the check of a CUDA C++ kernel that takes these types."""

    def check(x: Tensor) -> str | None:
        if not x.is_cuda:
            return f"the CUDA kernels compute on an NVIDIA GPU, the tensor is on {x.device}"
        if x.dtype not in dtypes:
            return f"the CUDA kernel takes {', '.join(map(str, dtypes))}, the tensor is {x.dtype}"
        return compiled_cuda.load()

    return check


def triton_why_not(*dtypes: torch.dtype) -> WhyNot:
    """Return the check of a Triton kernel that takes these types."""

    def check(x: Tensor) -> str | None:
        if not has_triton():
            return "the package triton is not installed"
        if not x.is_cuda and not interpreted():
            return f"Triton kernels compute on a GPU, the tensor is on {x.device}"
        if x.dtype not in dtypes:
            return f"the Triton kernel takes {', '.join(map(str, dtypes))}, the tensor is {x.dtype}"
        return None

    return check


def _library_is_missing(name: str, x: Tensor) -> bool:
    """Whether a kernel for this device is not there because its library is not."""
    if x.device.type == "cpu":
        return name == "cpp" and compiled.load() is not None
    return name == "cuda" and x.is_cuda and compiled_cuda.load() is not None


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, which computes on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def has_triton() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("triton") is not None


def report() -> Iterator[str]:
    """Yield a line for each operator: the backends that work on this machine, which is chosen, and why not the rest."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.empty(0, device=device)
    for op in sorted(KERNELS):
        reasons = {name: why_not(op, x, name) for name in (*KERNELS[op], "reference")}
        works = [name for name, reason in reasons.items() if reason is None]
        chosen = choose(op, x)
        line = f"  {op:32} {', '.join(f'[{name}]' if name == chosen else name for name in works)}"
        yield "; ".join([line, *(f"{name}: {reason}" for name, reason in reasons.items() if reason is not None)])


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)
