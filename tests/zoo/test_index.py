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

from foveal.api import init_model, predict
from foveal.cli import main
from foveal.config import load_config
from foveal.data.ade20k import ADE20K_CLASSES
from foveal.engine.download import cached
from foveal.models.classifier import ImageClassifier
from foveal.registry import MODELS
from foveal.zoo import (
    create_backbone,
    create_classifier,
    create_restorer,
    find_weights,
    get_weight,
    import_checkpoint,
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
    if weight.config is not None:
        with torch.device("meta"):
            return MODELS.build(load_config(weight.config, {**weight.options, **arguments}).model)
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


NETWORKS = [weight for weight in list_weights() if weight.config is None]
WHOLE = [weight for weight in list_weights() if weight.config is not None]


@pytest.mark.parametrize("family", sorted({weight.family for weight in NETWORKS}))
def test_parameters_are_those_of_our_network(family):
    check_counts([weight for weight in NETWORKS if weight.family == family])


@pytest.mark.parametrize("family", sorted({weight.family for weight in WHOLE}))
def test_a_whole_model_is_built_from_its_config(family):
    check_counts([weight for weight in WHOLE if weight.family == family][:1])


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({weight.family for weight in WHOLE}))
def test_all_whole_models_are_built_from_their_configs(family):
    check_counts([weight for weight in WHOLE if weight.family == family])


def check_counts(weights):
    counts = {}
    for weight in weights:
        network = (weight.arch, weight.task == "classification", str(weight.arguments), weight.config)
        network += (str(weight.options),)
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
    others = {weight.arch for weight in list_weights()} - {*list_backbones(), *list_restorers()}
    assert all(name in MODELS for name in others)
    assert not [weight.name for weight in list_weights() if weight.arch in others and weight.config is None]


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
        ({"options": {"model.backbone.depth": 18}}, "options change a config, and there is none"),
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


GONE = "https://download.openmmlab.com/mmdetection/retina-0123abcd.pth"


@pytest.fixture
def whole(own_index, tmp_path):
    """RetinaNet with ResNet-18 under a name, as mmdet published it: a host that is no more, and the file by hand."""
    options = {"model.backbone.depth": 18, "model.bbox_head.num_classes": 3}
    own = {"arch": "resnet18", "task": "detection", "config": "retinanet/retinanet_r50_fpn_1x_coco.py"}
    model = MODELS.build(load_config(own["config"], options).model)
    path = tmp_path / "retina.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {"CLASSES": ("cat", "dog", "owl")}}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    own_index(**own, name="retina", options=options, url=GONE, sha256=digest, flops="absent", size="absent")
    return path, model, digest


def test_a_whole_model_is_had_by_its_name(whole):
    path, model, _ = whole
    found = init_model("retina", path, "cpu")
    assert found.dataset_meta["classes"] == ("cat", "dog", "owl")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in found.state_dict().items())
    changed = init_model("retina", device="cpu", cfg_options={"model.test_cfg.max_per_img": 7})
    assert changed.cfg.model.test_cfg.max_per_img == 7
    with pytest.raises(ValueError, match="a network's name has none"):
        init_model("resnet18", cfg_options={"model.x": 1})


def test_a_whole_model_is_imported_with_its_classes(whole, tmp_path):
    path, model, _ = whole
    out = tmp_path / "ours.safetensors"
    main(["zoo", "import", "retina", str(path), str(out)])
    found = init_model("retina", out, "cpu")
    assert list(found.dataset_meta["classes"]) == ["cat", "dog", "owl"]
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in found.state_dict().items())
    with pytest.raises(ValueError, match="takes no arguments here; got depth"):
        import_checkpoint("retina", path, out, depth=18)


def test_a_model_of_the_authors_predicts_and_names_the_classes_of_its_data(tmp_path):
    """NVIDIA's files name no classes."""
    model = init_model("segformer_mit_b0", device="cpu")
    torch.save(model.state_dict(), tmp_path / "b0.pth")
    model = init_model("segformer_mit_b0", tmp_path / "b0.pth", "cpu")
    assert model.dataset_meta["classes"] == ADE20K_CLASSES
    (sample,) = predict(model, ROOT / "demo" / "images" / "000000000030.jpg")
    assert sample.metainfo["img_shape"][0] % 32 == sample.metainfo["img_shape"][1] % 32 == 0
    assert tuple(sample.pred_sem_seg.data.shape[-2:]) == sample.metainfo["ori_shape"]
    own = {"test_dataloader.dataset.metainfo.classes": ["a", "b"]}
    changed = init_model("segformer_mit_b0", device="cpu", cfg_options=own)
    assert changed.dataset_meta == {"classes": ["a", "b"]}


def test_a_host_that_is_no_more_is_not_asked(whole, monkeypatch):
    path, _, digest = whole
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("asked"))
    weight = get_weight("retina")
    assert weight.unreachable
    wanted = f"download.openmmlab.com, which had the file, is no more, .*retina-0123abcd.pth.* begins with {digest}"
    with pytest.raises(ValueError, match=wanted):
        init_model("retina", True, "cpu")
    place = cached(weight.address)
    place.parent.mkdir(parents=True)
    place.write_bytes(path.read_bytes())
    assert init_model("retina", True, "cpu").dataset_meta["classes"][0] == "cat"
    place.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"retina-0123abcd\.pth"):
        init_model("retina", True, "cpu")


def test_a_file_that_can_be_had_comes_before_one_that_cannot():
    weight = index.default_weight("mit_b0", ("classification", "backbone"))
    assert weight.address is None or not weight.unreachable


def test_cfsrs_files_are_those_of_the_index(shared):
    for scale in (2, 4):
        path = shared / "weights" / f"CFSR_x{scale}.pth"
        weight = get_weight(f"CFSR_x{scale}")
        assert weight.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert weight.bytes == path.stat().st_size
