"""What TensorRT refuses is said before it is asked; what it takes, it builds."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import foveal
from foveal.errors import ExportError
from foveal.export import export_model, load_exported, tensorrt
from foveal.export.tensorrt_operators import SUPPORTED, problems
from tests.models.small_detectors import small_detector


def model_of(*nodes, opset=18, **numbers):
    values = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in numbers.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph(list(nodes), "graph", [x], [y], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(
    ("node", "opset", "numbers", "sentence"),
    [
        (helper.make_node("Unique", ["x"], ["y"], name="u"), 18, {}, "Unique at u: not among the operators"),
        (helper.make_node("Resize", ["x"], ["y"], name="r", antialias=1), 18, {}, "Resize at r: antialias"),
        (helper.make_node("TopK", ["x", "k"], ["y"], name="t"), 18, {"k": 5000}, "TopK at t: k is 5000, at most 3839"),
        (helper.make_node("GridSample", ["x", "x"], ["y"], name="g"), 20, {}, "GridSample at g: opset 20"),
        (
            helper.make_node("ScatterND", ["x", "x", "x"], ["y"], name="s", reduction="add"),
            18,
            {},
            "ScatterND at s: reduction add",
        ),
        (helper.make_node("TopK", ["x", "k"], ["y"], name="t", sorted=0), 18, {"k": 5}, "TopK at t: it always sorts"),
        (
            helper.make_node("ReduceSum", ["x", "x"], ["y"], name="r"),
            18,
            {},
            "ReduceSum at r: its input 1 must be a co",
        ),
        (
            helper.make_node("MaxPool", ["x"], ["y", "i"], name="m", kernel_shape=[2]),
            18,
            {},
            "m: has more than 1 output",
        ),
        (helper.make_node("MaxPool", ["x"], ["y"], name="m", kernel_shape=[2], dilations=[2]), 18, {}, "m: dilations"),
        (helper.make_node("DeformConv", ["x"] * 3, ["y"], name="d", pads=[1, 0]), 18, {}, "d: pads differ"),
        (
            helper.make_node("Resize", ["x"], ["y"], name="r", keep_aspect_ratio_policy="not_larger"),
            18,
            {},
            "r: it can only stretch",
        ),
        (helper.make_node("Scan2", ["x"], ["y"], name="o", domain="com.other"), 18, {}, "operators of com.other"),
    ],
)
def test_what_it_refuses(node, opset, numbers, sentence):
    found = list(problems(model_of(node, opset=opset, **numbers)))
    assert len(found) == 1
    assert sentence in found[0]


def test_what_it_takes():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("TopK", ["a", "k"], ["y"]),
        helper.make_node("GridSample", ["x", "x"], ["b"]),
        helper.make_node("Constant", [], ["axes"], value_ints=[1]),
        helper.make_node("ReduceSum", ["b", "axes"], ["c"]),
        helper.make_node("ReduceMean", ["c", "k"], ["d"]),
        helper.make_node("DeformConv", ["x"] * 3, ["e"], pads=[1, 1, 1, 1]),
    ]
    assert list(problems(model_of(*nodes, k=100))) == []
    assert {"Conv", "NonMaxSuppression", "RoiAlign", "DeformConv", "Scan"} <= SUPPORTED


def test_a_problem_names_the_module(tmp_path):
    """torch's exporter notes where a node comes from."""
    path = export_model(foveal.create_restorer("espcn_x2"), tmp_path / "x", size=(24, 32))
    proto = onnx.load(str(path))
    for node in proto.graph.node:
        if node.op_type == "Conv":
            node.op_type = "Unique"
    assert "Unique at model.generator.conv1" in next(problems(proto)) or "generator" in next(problems(proto))


def test_without_it_one_sentence_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt, "PACKAGES", ("no_such_tensorrt",))
    with pytest.raises(ExportError, match="TensorRT is missing: pip install tensorrt"):
        export_model(foveal.create_restorer("espcn_x2"), tmp_path / "x", "tensorrt", size=(24, 32))
    (tmp_path / "x.engine").write_bytes(b"")
    with pytest.raises(ExportError, match="TensorRT is missing"):
        load_exported(tmp_path / "x.engine")


@pytest.fixture
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds engines without a GPU")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_an_engine_is_built_without_a_gpu(half, dynamic, rtx, tmp_path):
    model = foveal.create_restorer("espcn_x2")
    path = export_model(model, tmp_path / "x", "tensorrt", size=(24, 32), half=half, dynamic=dynamic)
    assert path.stat().st_size > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.engine", "x.engine.json"]
    if not torch.cuda.is_available():
        with pytest.raises(ExportError, match="runs on an NVIDIA GPU, and torch finds none"):
            load_exported(path)


def test_an_int8_engine_is_built_without_a_gpu(rtx, tmp_path):
    model = foveal.create_restorer("edsr_baseline_x2", n_resblocks=2)
    photographs = [np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8) for i in range(3)]
    path = export_model(model, tmp_path / "x", "tensorrt", size=(24, 32), calibration=photographs)
    assert path.stat().st_size > 1000


def test_a_detector_without_suppression_becomes_an_engine(rtx, tmp_path):
    model = small_detector("retinanet/retinanet_r18_fpn_1x_coco", narrow=True)
    path = export_model(model, tmp_path / "x", "tensorrt", size=(64, 96), postprocess=False)
    assert path.stat().st_size > 100_000


@pytest.mark.tensorrt
@pytest.mark.parametrize("half", [False, True])
def test_an_engine_computes_what_the_model_does(half, tmp_path):
    """`export_model` compares where there is a GPU."""
    model = small_detector("retinanet/retinanet_r18_fpn_1x_coco", narrow=True)
    assert export_model(model, tmp_path / "x", "tensorrt", size=(128, 160), half=half).is_file()
