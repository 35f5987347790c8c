"""AdaLog's quantiser: its codes, its search, and the same in a graph."""

import numpy as np
import onnx
import pytest
import torch

import foveal
from foveal.errors import ExportError
from foveal.export import export_model
from foveal.export.logarithm import GELU_SHIFT, LogQuantizer, R, fit


def attention(rows, columns, spread):
    """Softmax of scores so spread that most weights are near 0."""
    scores = np.random.default_rng(0).standard_normal((rows, columns)) * spread
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(("q", "bits", "shift"), [(5, 4, 0.0), (R, 3, 0.0), (2, 8, GELU_SHIFT)])
def test_codes_stand_for_powers_of_the_base_and_the_last_for_zero(q, bits, shift):
    quantizer = LogQuantizer(0.8, q, shift, bits)
    powers = 0.8 * 2.0 ** (-np.arange(2**bits - 1) * q / R) - shift
    np.testing.assert_allclose(quantizer.table, [*powers, -shift], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(quantizer(powers), powers, rtol=1e-5, atol=1e-6)
    assert quantizer(np.array([-shift, 5.0])).tolist() == pytest.approx([-shift, 0.8 - shift])


def test_a_value_gets_the_code_whose_logarithm_is_nearest():
    quantizer = LogQuantizer(1.0, 7, 0.0, 6)
    values = np.random.default_rng(0).uniform(0.01, 1, 500)
    logarithms = np.log(quantizer.table[:-1].astype(np.float64))
    nearest = np.abs(np.log(values)[:, None] - logarithms).argmin(1)
    np.testing.assert_allclose(quantizer(values), quantizer.table[nearest])


@pytest.mark.parametrize("bits", [3, 4])
def test_the_search_is_no_worse_than_all_bases(bits):
    values = attention(400, 49, 1.5)
    scale = values.max()
    best = min(np.square(LogQuantizer(scale, q, 0.0, bits)(values) - values).mean() for q in range(1, 2 * R))
    assert np.square(fit(values, 0.0, bits)(values) - values).mean() <= best * 1.02


def test_few_bits_lose_less_of_small_values_than_uniform_ones_do():
    values = attention(400, 196, 1.0)
    made = fit(values, 0.0, 4)(values)
    step = values.max() / 15
    uniform = np.rint(values / step) * step
    assert np.square(made - values).mean() < 0.7 * np.square(uniform - values).mean()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_transformers_graph_has_them_after_softmax_and_gelu(bits, tmp_path):
    torch.manual_seed(0)
    arguments = {"embed_dim": 12, "depths": (2,), "num_heads": (2,)}
    images = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8) for i in range(3)]
    model = foveal.create_restorer("swinir_lightweight_sr_x2", **arguments).eval()
    path = export_model(model, tmp_path / "x", size=(16, 16), calibration=images, log_bits=bits)
    proto = onnx.load(path)
    # two blocks: two maps of attention, two GELUs
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Softmax") == 2 and kinds.count("Erf") == 2 and kinds.count("Log") == 4
    tables = [t for t in proto.graph.initializer if t.name.endswith("/table")]
    assert [tuple(t.dims) for t in tables] == [(2**bits,)] * 4
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    made = {name for node in proto.graph.node for name in node.output}
    assert made <= {name for node in proto.graph.node for name in node.input} | {out.name for out in proto.graph.output}


def test_the_graph_computes_what_the_quantiser_does(tmp_path):
    import onnxruntime

    from foveal.export.logarithm import _nodes

    quantizer = LogQuantizer(1.3, 3, GELU_SHIFT, 6)
    made = onnx.helper.make_graph(
        [],
        "log",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None])],
    )
    made.node.extend(_nodes(quantizer, "x", "y", made))
    proto = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).uniform(-0.17, 1.5, 4000).astype(np.float32)
    (y,) = session.run(None, {"x": x})
    # float32 against float64: a value in the middle of two codes may fall to either
    assert (y != quantizer(x)).mean() < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [({"log_bits": 4}, "log_bits is of int8"), ({"log_bits": 9, "calibration": 1}, "2 to 8 bits, got 9")],
)
def test_wrong_use_is_named(options, message, tmp_path):
    if "calibration" in options:
        options["calibration"] = [np.zeros((16, 16, 3), np.uint8)]
    with pytest.raises(ExportError, match=message):
        export_model(foveal.create_restorer("espcn_x2"), tmp_path / "x", size=(16, 16), **options)
