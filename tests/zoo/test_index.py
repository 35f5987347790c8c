"""The index of released weights: read, held to our networks, and used by create_*."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml

from foveal.cli import main
from foveal.models.classifier import ImageClassifier
from foveal.registry import MODELS
from foveal.zoo import (
    create_backbone,
    create_classifier,
    create_restorer,
    find_weights,
    get_weight,
    index,
    list_backbones,
    list_restorers,
    list_weights,
)
from foveal.zoo.create import classifier_nodes, find_variant
from foveal.zoo.table import BEGIN, END, update_page

ROOT = Path(__file__).resolve().parent.parent.parent

# the first four are timm's, which has their weights; the last one is in the official code only
WITHOUT_RELEASE = {
    "convnext_atto",
    "convnext_femto",
    "convnext_pico",
    "convnext_nano",
    "cvt_w24",
    "hornet_base_gf_img384",
}

# of the first kinds no file was released; the others' are behind pages that name no single file
RESTORERS_WITHOUT_ENTRY = {
    *(f"tcsr_{size}_x{scale}" for size in "bl" for scale in (2, 3, 4)),
    *(f"espcn_x{scale}" for scale in (2, 3, 4, 8)),
    "serpent_b",
    "serpent_l",
    "event_demosaic",
    "swinir_real_sr_x2",
    "medfe",
    *(f"nafnet_{data}_width{width}" for data in ("sidd", "gopro") for width in (32, 64)),
    "nafnet_reds_width64",
}

# printed figures that no reading of the network gives
MISPRINTED = {
    "dinat_large_in22k_in1k_384_11x11": "200M is that of the 7x7 kernels; the larger biases make it 201.1M",
}


def built(weight, **arguments):
    arguments = {**weight.arguments, **arguments}
    if weight.task == "restoration":
        with torch.device("meta"):
            return create_restorer(weight.arch, **arguments)
    variant = find_variant(weight.arch)
    with torch.device("meta"):
        if weight.task == "classification":
            return ImageClassifier(**classifier_nodes(variant, arguments))
        return MODELS.build({**variant.backbone, **arguments})


def parameters(model):
    return sum(value.numel() for value in model.parameters())


def printed(text):
    """A figure such as 28M, and what one more in its last digit is worth."""
    digits, letter = re.fullmatch(r"([\d.]+)([KMG]?)", text).groups()
    unit = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[letter]
    return float(digits) * unit, 10.0 ** -len(digits.partition(".")[2]) * unit


@pytest.mark.parametrize("family", sorted({weight.family for weight in list_weights()}))
def test_parameters_are_those_of_our_network(family):
    counts = {}
    for weight in (w for w in list_weights() if w.family == family):
        network = (weight.arch, weight.task == "classification", str(weight.arguments))
        if network not in counts:
            counts[network] = parameters(built(weight))
        assert weight.params["counted"] == counts[network], weight.name
        if weight.printed_for:
            assert weight.params["counted_for_printed"] == parameters(built(weight, **weight.printed_for)), weight.name


def test_printed_parameters_are_the_counted_ones_rounded_or_cut():
    wrong = []
    for weight in list_weights():
        if weight.params.get("printed"):
            value, step = printed(weight.params["printed"])
            counted = weight.params.get("counted_for_printed", weight.params["counted"])
            if abs(counted - value) >= max(step, 1):
                wrong.append(weight.name)
    assert wrong == list(MISPRINTED)


def test_every_released_network_has_an_entry():
    assert {name for name in list_backbones() if not find_weights(name)} == WITHOUT_RELEASE
    assert {name for name in list_restorers() if not find_weights(name)} == RESTORERS_WITHOUT_ENTRY
    assert {weight.arch for weight in list_weights()} <= {*list_backbones(), *list_restorers()}


def test_torchvisions_hashes_are_in_its_file_names():
    weights = [weight for weight in list_weights() if weight.sha256 and "pytorch.org" in weight.url]
    assert weights and all(f"-{weight.sha256}.pth" in weight.url for weight in weights)


def test_the_page_is_current(tmp_path, capsys):
    assert update_page(ROOT / "model_zoo.md", write=False), "run `foveal zoo table --write`"
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{BEGIN}\nold\n{END}\nafter\n")
    with pytest.raises(SystemExit) as stopped:
        main(["zoo", "table", "--check", str(page)])
    assert stopped.value.code == 2 and "is not current" in capsys.readouterr().err
    main(["zoo", "table", "--write", str(page)])
    main(["zoo", "table", "--check", str(page)])
    text = page.read_text()
    assert text.startswith("Before\n") and text.endswith("\nafter\n") and "convnext_tiny_1k_224_ema" in text


def test_the_command_line_looks_up(capsys):
    main(["zoo", "list", "shvit_s?"])
    assert len(capsys.readouterr().out.splitlines()) == 6
    main(["zoo", "info", "cvt_13_224_in1k"])
    out = capsys.readouterr().out
    assert "arch: cvt_13\n" in out and "1drv.ms" in out and "address: none for a program" in out
    for words, message in (
        (["info", "cvt_13"], "is a network; the weights for it are called cvt_13_224_in1k"),
        (["info", "cvt_13_224"], "nearest names: cvt_13_224_in1k"),
        (["list", "x*"], r"no weights that match 'x\*'"),
    ):
        with pytest.raises(SystemExit):
            main(["zoo", *words])
        assert re.search(message, capsys.readouterr().err)


@pytest.fixture
def own_index(tmp_path, monkeypatch):
    """An index of one small network; returns a function that sets what its entry says."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setattr(index, "FOLDER", folder)
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))

    def write(**changes):
        entry = {"name": "a", "arch": "convnext_atto", "url": None, "page": "https://x.org/all", "source": "README.md"}
        entry |= {"task": "classification", "data": "ImageNet-1K", "size": 224, "metrics": {}}
        entry |= {"params": {"counted": 1}, "flops": {"counted": 1}, **changes}
        head = {"repository": "https://x.org", "commit": None, "licence": "MIT"}
        entry = {key: value for key, value in entry.items() if value != "absent"}
        (folder / "family.yaml").write_text(yaml.safe_dump({**head, "weights": [entry]}))
        index._read.cache_clear()

    yield write
    index._read.cache_clear()


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A file of ConvNeXt atto with 7 classes."""
    model = create_classifier("convnext_atto", num_classes=7)
    torch.save({"model": model.state_dict()}, tmp_path_factory.mktemp("release") / "atto.pth")
    return tmp_path_factory.getbasetemp() / "release0" / "atto.pth", model.state_dict()


@pytest.fixture
def server(released):
    """The file behind an HTTP address of this machine."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=released[0].parent)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_true_takes_the_zoos_file(scheme, own_index, released, server):
    path, state = released
    own_index(url=f"{server}/atto.pth?dl=1" if scheme == "http" else f"file://{path}", arguments={"num_classes": 7})
    classifier = create_classifier("convnext_atto", True)
    assert all(torch.equal(value, state[key]) for key, value in classifier.state_dict().items())
    backbone = create_backbone("convnext_atto", checkpoint=True, out_indices=(2, 3))
    assert torch.equal(backbone.stages[0][0].dwconv.weight, state["backbone.stages.0.0.dwconv.weight"])


def test_an_address_that_ends_in_a_slash_has_a_name_in_the_cache(own_index, released, server, tmp_path):
    (released[0].parent / "f").mkdir(exist_ok=True)
    own_index(url=f"{server}/f/?dl=1")
    with pytest.raises(
        ValueError, match=r"a web page came, not a file\. Fetch it by hand to .*/checkpoints/[0-9a-f]{8}/f$"
    ):
        create_classifier("convnext_atto", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"download a: open https://x.org/all in a browser"),
        (
            {"url": "https://drive.google.com/file/d/x/view"},
            r"download a: open https://drive\.google\.com/file/d/x/view",
        ),
        ({"task": "detection"}, "no classification or backbone weights for convnext_atto"),
        ({"url": "http://127.0.0.1:9/a.pth"}, r"cannot download http://127\.0\.0\.1:9/a\.pth: .*by hand to .*a\.pth"),
    ],
)
def test_a_file_that_cannot_be_had_is_named(changes, message, own_index):
    own_index(**changes)
    with pytest.raises(ValueError, match=message):
        create_backbone("convnext_atto", True)


def test_timm_has_no_entries():
    with pytest.raises(ValueError, match="the zoo has no classification weights for timm/resnet18"):
        create_classifier("timm/resnet18", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "absent"}, r"family\.yaml, entry 1: name missing"),
        ({"url": "absent"}, r"family\.yaml, a: url missing"),
        ({"page": "absent"}, "where url is null, page must say"),
        ({"url": "x.org/a.pth"}, "url must be an URL, got 'x.org/a.pth'"),
        ({"tsk": "x"}, "there is no key 'tsk'; nearest: task"),
        ({"size": "224"}, "size must be int, got '224'"),
        ({"task": "detecting"}, "task must be one of classification, .*; got 'detecting'"),
        ({"flops": "absent"}, "must have flops and size"),
        ({"params": {"counted": "28M"}}, "params must have a whole number under counted"),
        ({"sha256": "sha"}, "sha256 must be hexadecimal digits, got 'sha'"),
        ({"hub": "owner/file"}, "hub must be owner/repository/file"),
    ],
)
def test_a_wrong_entry_is_named(changes, message, own_index):
    own_index(**changes)
    with pytest.raises(ValueError, match=message):
        list_weights()


def test_a_wrong_file_is_named(own_index):
    for text, message in (("a: [", "is no YAML"), ("a: 1", "must be a mapping with the keys")):
        (index.FOLDER / "family.yaml").write_text(text)
        index._read.cache_clear()
        with pytest.raises(ValueError, match=rf"family\.yaml {message}"):
            list_weights()


def test_a_name_is_given_once(own_index):
    own_index()
    (index.FOLDER / "other.yaml").write_text((index.FOLDER / "family.yaml").read_text())
    with pytest.raises(ValueError, match=r"other\.yaml, a: family\.yaml has this name too"):
        get_weight("a")


def test_a_reader_that_has_enough_is_no_error():
    words = [sys.executable, "-m", "foveal.cli", "zoo", "list"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=environment, bufsize=1, **pipes) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 141
    assert "BrokenPipe" not in error and "Traceback" not in error


def test_true_takes_the_zoos_file_of_a_restorer(own_index, tmp_path):
    model = create_restorer("espcn_x2")
    torch.save({"params": model.generator.state_dict()}, tmp_path / "espcn.pth")
    own_index(arch="espcn_x2", task="restoration", url=f"file://{tmp_path}/espcn.pth", flops="absent", size="absent")
    found = create_restorer("espcn_x2", True).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())


def test_cfsrs_files_are_those_of_the_index(shared):
    for scale in (2, 4):
        path = shared / "weights" / f"CFSR_x{scale}.pth"
        assert get_weight(f"CFSR_x{scale}").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
