"""Downloads from a server that is slow, breaks off, lies, redirects or is not there."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foveal.engine import download
from foveal.errors import CheckpointError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The path's first word says how the server behaves; ``requests`` keeps the ranges that were asked for."""

    requests: list
    breaks: int

    def do_GET(self):
        kind = self.path.strip("/").split("/")[0]
        wanted = self.headers.get("Range")
        self.requests.append((kind, wanted))
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "/whole/model.pth")
            self.end_headers()
            return
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "ill" and self.requests.count((kind, None)) < 3:
            self.send_error(503)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and kind != "whole_again" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if kind == "page" else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind in ("breaks", "whole_again") and type(self).breaks > 0:
            type(self).breaks -= 1
            self.wfile.write(body[: len(body) // 3])
            return
        self.wfile.write(body if kind != "wrong" else body[::-1])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    kind = type("Kind", (Handler,), {"requests": [], "breaks": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        kind.url = f"http://127.0.0.1:{http.server_port}"
        yield kind
        http.shutdown()


@pytest.mark.parametrize("kind", ["whole", "redirect", "ill"])
def test_a_file_comes_and_is_kept(kind, server, tmp_path):
    target = tmp_path / "model.pth"
    assert download.fetch([f"{server.url}/{kind}/model.pth"], target, HASH[:8]) == target
    count = len(server.requests)
    download.fetch([f"{server.url}/{kind}/model.pth"], target)
    assert target.read_bytes() == CONTENT and len(server.requests) == count
    assert {path.name for path in tmp_path.iterdir()} == {"model.pth", "model.pth.lock"}


@pytest.mark.parametrize("kind", ["breaks", "whole_again"])
def test_a_broken_transfer_is_taken_up(kind, server, tmp_path):
    server.breaks = 2
    download.fetch([f"{server.url}/{kind}/model.pth"], tmp_path / "model.pth", HASH)
    ranges = [wanted for _, wanted in server.requests]
    assert ranges[0] is None and ranges[1] == f"bytes={len(CONTENT) // 3}-"
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_later_call_goes_on_where_the_first_gave_up(server, tmp_path):
    server.breaks = download.TRIES
    with pytest.raises(CheckpointError, match="broke off after"):
        download.fetch([f"{server.url}/breaks/model.pth"], tmp_path / "model.pth", HASH)
    have = (tmp_path / "model.pth.part").stat().st_size
    download.fetch([f"{server.url}/breaks/model.pth"], tmp_path / "model.pth", HASH)
    assert server.requests[-1][1] == f"bytes={have}-"
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_part_of_another_file_is_begun_anew(server, tmp_path):
    (tmp_path / "model.pth.part").write_bytes(CONTENT + b"more")
    download.fetch([f"{server.url}/whole/model.pth"], tmp_path / "model.pth", HASH)
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_without_a_hash_a_part_of_an_earlier_call_is_not_trusted(server, tmp_path):
    (tmp_path / "model.pth.part").write_bytes(b"of an older file")
    download.fetch([f"{server.url}/whole/model.pth"], tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == CONTENT and server.requests[0][1] is None


def test_the_next_mirror_serves(server, tmp_path):
    urls = [f"{server.url}/{kind}/model.pth" for kind in ("missing", "wrong", "page", "whole")]
    download.fetch(urls, tmp_path / "model.pth", HASH)
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "the server says 404 Not Found"),
        ("wrong", f"SHA-256 [0-9a-f]+, expected {HASH}"),
        ("page", "a web page came, not a file"),
    ],
)
def test_what_is_not_the_file_is_named_and_nothing_left(kind, sentence, server, tmp_path):
    url = f"{server.url}/{kind}/model.pth"
    with pytest.raises(CheckpointError, match=rf"cannot download {url}: .*{sentence}.*by hand to .*model\.pth"):
        download.fetch([url], tmp_path / "model.pth", HASH)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_without_a_published_hash_the_first_one_counts(server, tmp_path):
    target = tmp_path / "model.pth"
    download.fetch([f"{server.url}/whole/model.pth"], target)
    assert download.verify(target) == HASH
    target.write_bytes(b"other")
    with pytest.raises(CheckpointError, match=f"expected {HASH}: delete it and download it again"):
        download.verify(target)


def test_offline(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEAL_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"model\.pth is not in the cache and FOVEAL_OFFLINE is set"):
        download.fetch([f"{server.url}/whole/model.pth"], tmp_path / "model.pth")
    assert not server.requests
    (tmp_path / "model.pth").write_bytes(CONTENT)
    assert download.fetch([], tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_full_disk_leaves_nothing(server, tmp_path, monkeypatch):
    def full(url, part, name):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_transfer", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*model\.pth: No space left on device"):
        download.fetch([f"{server.url}/whole/model.pth"], tmp_path / "model.pth")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    download.fetch(["http://nowhere.invalid/x/model.pth"], tmp_path / "model.pth", HASH)
    assert server.requests == [("http:", None)]  # a proxy is asked for the whole address


def test_files_of_one_name_are_kept_apart():
    first, second = (download.cached(f"https://x.org/{folder}/model.pth?dl=1") for folder in "ab")
    assert first != second and first.name == second.name == "model.pth"
