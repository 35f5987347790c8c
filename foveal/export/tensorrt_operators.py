"""Which operators of ONNX TensorRT's parser takes, and what it refuses or computes wrongly all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SOURCE = "docs/operators.md of github.com/onnx/onnx-tensorrt, release 10.15, opset 9 to 24"
# Whoever raises the opset meets modes of GridSample that TensorRT takes for others (NVIDIA/TensorRT issue 4646).
LAST_OPSET = 19
LARGEST_TOPK = 3839

SUPPORTED = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Attention",
    "AveragePool", "BatchNormalization", "BlackmanWindow", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Concat",
    "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DeformConv", "DepthToSpace",
    "DequantizeLinear", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten",
    "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool",
    "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNormalization", "GRU", "HammingWindow",
    "HannWindow", "Hardmax", "HardSigmoid", "HardSwish", "Identity", "If", "ImageScaler", "InstanceNormalization",
    "IsInf", "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "Loop",
    "LpNormalization", "LpPool", "LRN", "LSTM", "MatMul", "Max", "MaxPool", "Mean", "MeanVarianceNormalization",
    "Min", "Mish", "Mod", "Mul", "Neg", "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "Pad",
    "ParametricSoftplus", "Pow", "PRelu", "QuantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape",
    "Resize", "ReverseSequence", "RMSNormalization", "RNN", "RoiAlign", "RotaryEmbedding", "Round", "ScaledTanh",
    "Scan", "Scatter", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "STFT", "Sub",
    "Sum", "Tan", "Tanh", "TensorScatter", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
    "Upsample", "Where", "Xor",
))  # fmt: skip

# inputs that must be known when an engine is built, by their place
CONSTANT_INPUTS = dict.fromkeys(["CumSum", "OneHot", "Squeeze", "Unsqueeze"], 1)
CONSTANT_INPUTS |= {name: 1 for name in SUPPORTED if name.startswith("Reduce")}
# outputs beyond these are not made
OUTPUTS = {"LayerNormalization": 1, "MaxPool": 1}


def problems(proto: Any) -> Iterator[str]:
    """Yield a phrase for each thing in an ONNX model that TensorRT does not take: operator, layer and reason.

    The table of release 11 is like that of 10.15 in all that is known of it. Resize in the mode "cubic" is not in
    either, but engines of it are built, so it is not refused.

    Args:
        proto: ``onnx.ModelProto``.
    """
    import onnx

    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    nodes = list(_nodes(proto.graph))
    numbers = {x.name: onnx.numpy_helper.to_array(x) for x in proto.graph.initializer if len(x.dims) < 2}
    known = {x.name for x in proto.graph.initializer} | {
        name for node in nodes if node.op_type == "Constant" for name in node.output
    }
    for node in nodes:
        where = f"{node.op_type} at {layer(node)}"
        if node.domain not in ("", "ai.onnx"):
            yield f"{where}: operators of {node.domain} are not ONNX's own"
        elif node.op_type not in SUPPORTED:
            yield f"{where}: not among the operators of {SOURCE}"
        else:
            options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            reason = _restriction(node, options, opset, numbers, known)
            if reason:
                yield f"{where}: {reason}"


def _restriction(
    node: Any, options: dict[str, Any], opset: int, numbers: dict[str, Any], known: set[str]
) -> str | None:
    """Why TensorRT does not take this use of an operator that it has, if so."""
    kind = node.op_type
    constant = CONSTANT_INPUTS.get(kind)
    if constant is not None and len(node.input) > constant and node.input[constant] not in known | {""}:
        return f"its input {constant} must be a constant, it is computed"
    if any(node.output[OUTPUTS.get(kind, len(node.output)) :]):
        return f"has more than {OUTPUTS[kind]} output"
    if kind == "GridSample" and opset > LAST_OPSET:
        return f"opset {opset}, from 20 on its modes are misread"
    if kind == "Resize" and options.get("antialias"):
        return "antialias"
    if kind == "Resize" and options.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return "it can only stretch"
    if kind == "TopK" and _largest(numbers.get(node.input[1])) > LARGEST_TOPK:
        return f"k is {_largest(numbers[node.input[1]])}, at most {LARGEST_TOPK} are sorted"
    if kind == "TopK" and not options.get("sorted", 1):
        return "it always sorts"
    if kind in ("ScatterND", "ScatterElements") and options.get("reduction", b"none") != b"none":
        return f"reduction {options['reduction'].decode()}"
    if kind in ("AveragePool", "MaxPool", "LpPool") and set(options.get("dilations", ())) - {1}:
        return "dilations"
    pads = list(options.get("pads", ()))
    if kind == "DeformConv" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        return "pads differ from side to side"
    return None


def _largest(numbers: Any) -> int:
    """The largest of an array's whole numbers; 0 for None, which is not known before the graph runs."""
    return 0 if numbers is None else int(numbers.max())


def layer(node: Any) -> str:
    """Return the module that a node comes from, as torch's exporter notes it; else the node's name."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    scopes = notes.get("pkg.torch.onnx.name_scopes", "")
    names = [name.strip("' ") for name in scopes.strip("[]").split(",")]
    # the last is the operation's own name, the one before the module that it stands in
    return names[-2] if len(names) > 1 and names[-2] else node.name


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the bodies of its branches and loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
