"""Files from the internet into the cache: resumed where a transfer broke off, checked, whole or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foveal.cache import alone_with, home
from foveal.errors import CheckpointError

TRIES = 4
TIMEOUT = 30.0
CHUNK = 2**20
RECORD = ".sha256"
"""Beside a file: the hash that it had when it was downloaded."""


def cached(url: str) -> Path:
    """Return where a URL's file is or will be kept.

    In ``checkpoints`` of `home`, under its own name, in a folder that stands for the rest of the URL: files of several
    authors are called model.pth.
    """
    folder, _, name = urlsplit(url).path.rstrip("/").rpartition("/")
    place = hashlib.sha256(f"{urlsplit(url).netloc}{folder}".encode()).hexdigest()[:8]
    return home() / "checkpoints" / place / unquote(name)


def fetch(urls: Sequence[str], target: Path, sha256: str | None = None) -> Path:
    """Download a file unless it is there.

    A transfer goes to ``<target>.part`` and is taken up again where it broke off, with a published hash also by a later
    call; the file gets its name when it is whole and its hash is right. Proxies are taken from the environment, as
    urllib does.

    Args:
        urls: Where the file is; each is tried in turn.
        target: Where it goes.
        sha256: Its hash or the first digits of it. None: the hash is written down beside the file at the first
            download, for `verify`.

    Returns:
        ``target``.

    Raises:
        CheckpointError: If no URL gives the file, its hash is another, the disk is full, or ``FOVEAL_OFFLINE=1``.
    """
    if target.is_file():
        return target
    by_hand = f"Fetch it by hand to {target}"
    if os.environ.get("FOVEAL_OFFLINE", "0") not in ("", "0"):
        raise CheckpointError(f"{target.name} is not in the cache and FOVEAL_OFFLINE is set. {by_hand}")
    reasons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_with(target):
            if sha256 is None:
                # nothing would tell that the file has changed since the part of it came
                _part(target).unlink(missing_ok=True)
            for url in urls if not target.is_file() else ():
                try:
                    _fetch_one(url, target, sha256)
                    break
                except (OSError, HTTPException, _Refused) as error:
                    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                        raise
                    reasons.append(f"cannot download {url}: {_plainly(error)}")
    except OSError as error:
        _part(target).unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {target}: {error.strerror or error}") from error
    if not target.is_file():
        raise CheckpointError(f"{'; '.join(reasons)}. {by_hand}")
    return target


def verify(path: Path, sha256: str | None = None) -> str:
    """Compare a file with its published hash or, without one, with the hash that it had when it was downloaded.

    Args:
        path: The file.
        sha256: Published hash or the first digits of it.

    Returns:
        The file's SHA-256 in hexadecimal digits.

    Raises:
        CheckpointError: If it is another file now.
    """
    record = path.with_name(path.name + RECORD)
    wanted = sha256 or (record.read_text().split()[0] if record.is_file() else "")
    found = hash_of(path)
    if not found.startswith(wanted.lower()):
        raise CheckpointError(f"{path} has the SHA-256 {found}, expected {wanted}: delete it and download it again")
    return found


def hash_of(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


class _Refused(Exception):
    """What came is not the file."""


def _fetch_one(url: str, target: Path, sha256: str | None) -> None:
    part = _part(target)
    for attempt in range(TRIES):
        try:
            _transfer(url, part, target.name)
            break
        except (OSError, HTTPException) as error:
            lasting = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            if lasting or full or attempt == TRIES - 1:
                raise
            time.sleep(min(2**attempt * 0.2, 5))
    found = hash_of(part)
    if sha256 is not None and not found.startswith(sha256.lower()):
        part.unlink()
        raise _Refused(f"what came has the SHA-256 {found}, expected {sha256}")
    if sha256 is None:
        target.with_name(target.name + RECORD).write_text(f"{found}  {target.name}\n")
    os.replace(part, target)


def _transfer(url: str, part: Path, name: str) -> None:
    """Append what is missing to ``part``."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "foveal", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        # an opener of our own: the common one keeps the proxies of its first call
        answer = urllib.request.build_opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is whole, or longer than the file: begin anew
            part.unlink()
            raise ConnectionError("the server has less than what came earlier") from error
        raise
    with answer:
        _check_answer(url, answer)
        resumed = getattr(answer, "status", None) == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with open(part, "ab" if resumed else "wb") as file, _bar(name, total) as advance:
            advance(have)
            while block := answer.read(CHUNK):
                file.write(block)
                advance(len(block))
                have += len(block)
    if total is not None and have < total:
        raise ConnectionError(f"the transfer broke off after {have} of {total} bytes")


def _check_answer(url: str, answer: HTTPResponse) -> None:
    if url.startswith("https://") and not answer.geturl().startswith("https://"):
        raise _Refused(f"it is redirected to {answer.geturl()}, which is not encrypted")
    if answer.headers.get_content_type() == "text/html":
        raise _Refused("a web page came, not a file")


def _plainly(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return str(reason) or type(reason).__name__


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


@contextlib.contextmanager
def _bar(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda count: None
        return
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=total)
        yield lambda count: progress.advance(task, count)
