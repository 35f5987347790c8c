"""The zoo's files on this machine: from the cache, or downloaded into it and checked."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from foveal.engine.download import cached, fetch, verify
from foveal.errors import CheckpointError
from foveal.zoo.index import Weight


def fetch_weight(weight: Weight) -> Path:
    """Return the file of an entry, from the cache or downloaded into it.

    A file on Hugging Face comes through ``huggingface_hub`` and its own cache. Where that fails, and for all others,
    the URL and then the mirrors are tried.

    Raises:
        CheckpointError: If only a browser gets the file, no address gives it, its host is no more, or its hash is
            another than published.
    """
    if weight.address is None:
        raise CheckpointError(
            f"the zoo knows no address from which a program can download {weight.name}: open "
            f"{weight.url or weight.page} in a browser and give the file's path as checkpoint"
        )
    if weight.address.startswith("file://"):
        return Path(weight.address.removeprefix("file://"))
    if weight.hub is not None:
        found = _from_hub(weight.hub)
        if found is not None:
            verify(found, weight.sha256)
            return found
    target = cached(weight.address)
    if weight.unreachable:
        return _by_hand(weight, target)
    return fetch([weight.address, *weight.mirrors], target, weight.sha256)


def _by_hand(weight: Weight, target: Path) -> Path:
    """A file whose host is no more: put into the cache by the user, or not to be had."""
    if target.is_file():
        verify(target, weight.sha256)
        return target
    known = f"its SHA-256 begins with {weight.sha256}" if weight.sha256 else "its hash was not published"
    raise CheckpointError(
        f"{weight.name}: {urlsplit(str(weight.url)).hostname}, which had the file, is no more, and the zoo knows no "
        f"other source. Give the path of a copy of {target.name} as checkpoint, or put it at {target}; {known}"
    )


def cached_weight(weight: Weight) -> Path | None:
    """Return the file of an entry if it is on this machine."""
    if weight.address is None:
        return None
    path = cached(weight.address)
    return path if path.is_file() else None


def verify_weight(weight: Weight) -> str | None:
    """Compare an entry's file in the cache with its published hash, else with the one noted at its download.

    Returns:
        Its SHA-256; None: it is not in the cache.

    Raises:
        CheckpointError: If it is another file.
    """
    path = cached_weight(weight)
    return None if path is None else verify(path, weight.sha256)


def _from_hub(address: str) -> Path | None:
    """A file by huggingface_hub, or None where that cannot get it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, repository, file = address.split("/", 2)
    offline = os.environ.get("FOVEAL_OFFLINE", "0") not in ("", "0")
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", file, local_files_only=offline))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError):
        return None
