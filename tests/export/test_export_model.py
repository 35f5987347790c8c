"""Exported files compute what the models compute, say what they are, and are not there when something is wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

import foveal
from foveal.cli import main
from foveal.errors import ExportError
from foveal.export import FORMATS, ExportGraph, export_model, formats, load_exported
from foveal.export.compare import differences
from foveal.export.export_model import example
from foveal.models.classifier import ImageClassifier
from foveal.registry import MODELS
from tests.models.small_detectors import small_detector

ROOT = Path(__file__).resolve().parent.parent.parent
STANDARD = {"", "ai.onnx"}


def as_arrays(graph, images):
    with torch.no_grad():
        return {name: x.numpy() for name, x in graph.named(images).items()}


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name",
    [
        "retinanet/retinanet_r18_fpn_1x_coco",
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
        "yolox/yolox_tiny_8xb8-300e_coco",
    ],
)
def test_detections_of_an_exported_detector_are_the_detectors(name, tmp_path):
    detector = small_detector(name, narrow=True)
    for part in ("bbox_head", "roi_head"):
        if hasattr(detector, part):
            getattr(detector, part).test_cfg["score_thr"] = 1e-3
    # a training's start gives every box nearly the same score: larger weights, and features of the variance 1
    for parameter in detector.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="linear")
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    images = example(detector, 2, (128, 160))
    with torch.no_grad():
        detector(images)
    path = export_model(detector, tmp_path / "model", size=(128, 160))
    images = images[1:]
    want = as_arrays(ExportGraph(detector), images)
    got = load_exported(path)(images.numpy())
    assert differences(want, got, share=0) == []
    assert (want["scores"] > 0).sum() > 10
    # the file's results have a fixed number; what fills it up says so
    assert (got["labels"][got["scores"] == 0] == -1).all()
    proto = onnx.load(str(path))
    assert {node.domain for node in proto.graph.node} <= STANDARD


@pytest.mark.parametrize("format", ["onnx", "torch_export", "torchscript", "openvino"])
def test_every_format(format, tmp_path):
    pytest.importorskip("openvino") if format == "openvino" else None
    model = foveal.create_restorer("espcn_x2")
    path = export_model(model, tmp_path / "espcn", format, size=(24, 32))
    exported = load_exported(path)
    image = noise(1, 1, 24, 32)
    want = as_arrays(ExportGraph(model), image)
    assert differences(want, exported(image.numpy())) == []
    assert want["restored"].shape == (1, 1, 48, 64)
    assert exported.meta["format"] == format
    assert exported.meta["input_shape"] == [1, 1, 24, 32]
    assert exported.meta["foveal"] == foveal.__version__
    assert exported.prepare(np.full((24, 32, 1), 255, np.uint8)).max() == pytest.approx(1)


def test_classes_and_normalisation_are_in_the_file(tmp_path):
    model = small_detector("demo/detector", narrow=True)
    model.dataset_meta = {"classes": ("cat", "dog")}
    path = export_model(model, tmp_path / "detector.onnx", size=(64, 64))
    notes = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    meta = json.loads(notes["foveal"])
    assert meta["classes"] == ["cat", "dog"]
    assert meta["mean"] == pytest.approx(model.data_preprocessor.mean.flatten().tolist())
    assert meta["outputs"] == ["bboxes", "scores", "labels"]
    assert meta["bgr_to_rgb"] is True


def test_raw_outputs_are_what_the_network_gives(tmp_path):
    model = small_detector("retinanet/retinanet_r18_fpn_1x_coco", narrow=True)
    path = export_model(model, tmp_path / "raw", size=(64, 96), postprocess=False, batch=2)
    images = noise(2, 3, 64, 96)
    with torch.no_grad():
        scores, offsets = model.eval()(images)
    got = list(load_exported(path)(images.numpy()).values())
    assert len(got) == len(scores) + len(offsets) == 10
    for want, found in zip([*scores, *offsets], got, strict=True):
        np.testing.assert_allclose(found, want.numpy(), rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def test_one_dynamic_file_serves_two_sizes(tmp_path):
    model = small_detector("retinanet/retinanet_r18_fpn_1x_coco", narrow=True)
    exported = load_exported(export_model(model, tmp_path / "any", size=(256, 288), dynamic=True))
    assert exported.meta["dynamic"] is True
    for size in ((256, 288), (320, 512)):
        images = noise(1, 3, *size)
        want = as_arrays(ExportGraph(model), images)
        assert differences(want, exported(images.numpy()), share=0) == []


def test_half_precision_leaves_the_normalisation_as_it_is():
    model = small_detector("demo/detector", narrow=True)
    mean = model.data_preprocessor.mean.clone()
    graph = ExportGraph(model, half=True)
    assert next(graph.parameters()).dtype == torch.float16
    assert torch.equal(graph.model.data_preprocessor.mean, mean)


def test_half_precision_keeps_float32_outside(tmp_path):
    model = foveal.create_restorer("espcn_x2")
    path = export_model(model, tmp_path / "half", size=(24, 32), half=True)
    weights = [x.data_type for x in onnx.load(str(path)).graph.initializer if len(x.dims) == 4]
    assert weights and set(weights) == {onnx.TensorProto.FLOAT16}
    assert load_exported(path)(noise(1, 1, 24, 32).numpy())["restored"].dtype == np.float32


def test_branches_are_merged_first(tmp_path):
    generator = {"type": "CFSR", "scale": 2, "embed_dim": 8, "depths": (1,), "deploy": False}
    model = MODELS.build({"type": "Restorer", "generator": generator})
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        want = model(images).clamp(0, 1)
    path = export_model(model, tmp_path / "cfsr", "torchscript", size=(16, 16))
    assert not any("sobel" in name for name in model.state_dict())
    np.testing.assert_allclose(load_exported(path)(images.numpy())["restored"], want.numpy(), atol=1e-5)


def test_a_classifier_gives_probabilities(tmp_path):
    torch.manual_seed(0)
    model = foveal.create_classifier("shvit_s1", num_classes=7)
    assert isinstance(model, ImageClassifier)
    path = export_model(model, tmp_path / "shvit", size=(64, 64))
    scores = load_exported(path)(noise(1, 3, 64, 64).numpy())["scores"]
    assert scores.shape == (1, 7)
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_file_that_computes_something_else_is_not_left_behind(tmp_path, monkeypatch):
    def spoiled(job, path):
        weight = next(iter(job.graph.parameters()))
        with torch.no_grad():
            weight.add_(1)
            formats.write_torchscript(job, path)
            weight.sub_(1)

    monkeypatch.setitem(FORMATS, "torchscript", (".torchscript", spoiled))
    with pytest.raises(ExportError, match="computes something else than the model at 24 x 32: restored differs by"):
        export_model(foveal.create_restorer("espcn_x2"), tmp_path / "wrong", "torchscript", size=(24, 32))
    assert list(tmp_path.iterdir()) == []


def unreadable(job, path):
    path.write_bytes(b"half a file")
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "onnx", (".onnx", unreadable))
    with pytest.raises(ExportError, match=r"cannot write .*wrong\.onnx: No space left on device"):
        export_model(foveal.create_restorer("espcn_x2"), tmp_path / "wrong", size=(24, 32))
    assert list(tmp_path.iterdir()) == []


def test_an_operation_that_a_format_lacks_is_named_with_its_layer(tmp_path):
    model = foveal.create_restorer("espcn_x2")

    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x)[..., :1, None] * x

    model.generator.odd = Odd()
    forward = model.generator.forward
    model.generator.forward = lambda x: forward(model.generator.odd(x))
    with pytest.raises(ExportError, match=r"Restorer cannot become ONNX.*linalg_svd"):
        export_model(model, tmp_path / "odd", size=(24, 32))
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_sentence(tmp_path, capsys):
    espcn = foveal.create_restorer("espcn_x2")
    with pytest.raises(ExportError, match="format must be one of onnx, torch_export"):
        export_model(espcn, tmp_path / "a", "tflite")
    with pytest.raises(ExportError, match=r"a file of the format onnx ends in \.onnx"):
        export_model(espcn, tmp_path / "a.xml")
    with pytest.raises(ExportError, match="a trace holds the example's size"):
        export_model(espcn, tmp_path / "a", "torchscript", size=(24, 32), dynamic=True)
    with pytest.raises(ExportError, match="ConvNeXt is a part of one"):
        export_model(foveal.create_backbone("convnext_atto"), tmp_path / "a")
    faster = small_detector("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", narrow=True)
    with pytest.raises(ExportError, match="multiples of 32, got 100 x 128"):
        export_model(faster, tmp_path / "a", size=(100, 128))
    with pytest.raises(foveal.errors.ConfigError, match="cannot be exported without post-processing"):
        export_model(faster, tmp_path / "a", size=(96, 128), postprocess=False)
    with pytest.raises(ExportError, match=r"expected one of \.onnx, .* got the suffix '\.pth'"):
        load_exported("model.pth")
    with pytest.raises(ExportError, match=r"none\.onnx does not exist"):
        load_exported(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    with pytest.raises(ExportError, match=r"broken\.onnx cannot be read"):
        load_exported(tmp_path / "broken.onnx")
    for words, sentence in (
        (["--size", "512"], "--size: expected HxW such as 512x640, got '512'"),
        (["--format", "coreml"], "format must be one of"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["export", "espcn_x2", "--out", str(tmp_path / "b"), *words])
        assert exit_.value.code == 2
        assert sentence in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["broken.onnx"]


def test_the_command_writes_a_file_that_runs(tmp_path, capsys):
    main(["export", "espcn_x2", "--format", "torchscript", "--size", "24x32", "--out", str(tmp_path / "x")])
    assert "written and checked" in capsys.readouterr().out
    exported = load_exported(tmp_path / "x.torchscript")
    assert exported(noise(1, 1, 24, 32).numpy())["restored"].shape == (1, 1, 48, 64)


def test_differences_see_what_differs():
    boxes = np.array([[[0, 0, 10, 10], [5, 5, 20, 20]]], np.float32)
    want = {"bboxes": boxes, "scores": np.array([[0.9, 0.8]], np.float32), "labels": np.array([[1, 2]])}
    swapped = {name: x[:, ::-1] for name, x in want.items()}
    assert differences(want, swapped) == []  # the order of equal ones is nobody's
    for name, value in (("labels", [[1, 1]]), ("scores", [[0.9, 0.7]]), ("scores", [[0.9, 0.0]])):
        assert differences(want, {**want, name: np.array(value)}) == ["50.00% of the detections differ"]
    extra = {name: np.concatenate([x, x[:, :1] * 0.5], 1) for name, x in want.items()}
    assert differences(want, extra) != []
    assert differences({"x": np.ones(4)}, {"x": np.full(4, 1.01)}) == ["x differs by 1.0e-02 of its largest value"]
    assert differences({"x": np.ones(4)}, {"x": np.full(4, np.nan)}) != []
    assert differences({"x": np.ones(4)}, {"x": np.ones(3)}) == ["x has shape [3], not [4]"]
    assert differences({"x": np.ones(4, int)}, {"x": np.array([1, 1, 1, 0])}) == ["25.00% of x differ"]


def photographs(count=6):
    files = sorted((ROOT / "demo/images").glob("*.jpg"))[:count]
    return [cv2.imread(str(file)) for file in files]


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_is_near_on_photographs(format, tmp_path):
    torch.manual_seed(0)
    model = MODELS.build({"type": "Restorer", "generator": {"type": "EDSR", "scale": 2, "n_resblocks": 2}})
    path = export_model(model, tmp_path / "edsr", format, size=(48, 64), calibration=photographs())
    exported = load_exported(path)
    assert exported.meta["int8"] is True
    image = exported.prepare(cv2.resize(photographs(7)[6], (64, 48)))
    want = as_arrays(ExportGraph(model), torch.from_numpy(image))["restored"]
    error = np.abs(exported(image)["restored"] - want)
    assert 0 < error.mean() < 0.05 * want.std()
    if format == "onnx":
        kinds = [node.op_type for node in onnx.load(str(path)).graph.node]
        # the first and the last stay as they are
        assert kinds.count("QuantizeLinear") >= kinds.count("Conv") - 2 > 4


def test_int8_is_refused_where_it_cannot_be(tmp_path):
    model = foveal.create_restorer("espcn_x2")
    with pytest.raises(ExportError, match="int8 is for onnx, openvino and tensorrt, not for torchscript"):
        export_model(model, tmp_path / "x", "torchscript", size=(24, 32), calibration=photographs(1))
    with pytest.raises(ExportError, match="float16 or in int8"):
        export_model(model, tmp_path / "x", size=(24, 32), half=True, calibration=photographs(1))
    with pytest.raises(ExportError, match="images to calibrate with, got none"):
        export_model(model, tmp_path / "x", size=(24, 32), calibration=[])
    assert list(tmp_path.iterdir()) == []
