"""Operations that are layers of `paddle.nn`: those with parameters, activations, poolings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import nn

from .graph import Node, Unfit
from .program import Operation

__all__ = ["LAYERS", "layer_of"]

Made = tuple[Any, Operation | None]
_ADAPTIVE = (nn.AdaptiveAvgPool2D, nn.AdaptiveMaxPool2D)
_CONVOLUTIONS = {4: nn.Conv2D, 5: nn.Conv3D}
_TRANSPOSED = {4: nn.Conv2DTranspose, 5: nn.Conv3DTranspose}
_BATCH_NORMS = {2: nn.BatchNorm1D, 3: nn.BatchNorm1D, 4: nn.BatchNorm2D, 5: nn.BatchNorm3D}
_INSTANCE_NORMS = {3: nn.InstanceNorm1D, 4: nn.InstanceNorm2D, 5: nn.InstanceNorm3D}


def layer_of(node: Node) -> Made | None:
    """The layer that an operation is, with its parameters, and the addition of its bias, if that
    is in the layer; None where it is no layer.
    """
    build = LAYERS.get(node.op.name)
    if build is None:
        return None
    try:
        with paddle.LazyGuard():  # which makes no parameters: the program has them
            made = build(node)
    except Unfit:
        return None
    return made if isinstance(made, tuple) else (made, None)


def _channels(node: Node, form: str) -> int:
    """The axis of channels."""
    return 1 if form.startswith("NC") else len(node.shape()) - 1


def _convolution(node: Node) -> Made:
    a, weight = node.attributes, node.parameter(1)
    # Without a bias at first: a layer's parameters are set here.
    layer = _CONVOLUTIONS[weight.ndim](
        weight.shape[1] * a["groups"], weight.shape[0], weight.shape[2:], a["strides"],
        _padding(a), a["dilations"], a["groups"], bias_attr=False, data_format=_form(a),
    )  # fmt: skip
    return _with_bias(node, layer, weight, weight.shape[0], _channels(node, _form(a)))


def _transposed(node: Node) -> Made:
    a, weight = node.attributes, node.parameter(1)
    if node.given(2) and node.numbers(2):
        raise Unfit  # the size that comes out was told
    layer = _TRANSPOSED[weight.ndim](
        weight.shape[0], weight.shape[1] * a["groups"], weight.shape[2:], a["strides"],
        _padding(a), a["output_padding"] or 0, a["dilations"], a["groups"], bias_attr=False,
        data_format=_form(a),
    )  # fmt: skip
    out = weight.shape[1] * a["groups"]
    return _with_bias(node, layer, weight, out, _channels(node, _form(a)))


def _linear(node: Node) -> Made:
    a, weight = node.attributes, node.parameter(1)
    turned = a["transpose_x"] or a["transpose_y"]
    if weight.ndim != 2 or turned or node.op.inputs[0] in node.graph.fixed:
        raise Unfit
    layer = nn.Linear(*weight.shape, bias_attr=False)
    rank = len(node.graph.program.shapes[node.op.outputs[0]])
    return _with_bias(node, layer, weight, weight.shape[1], rank - 1)


def _with_bias(node: Node, layer: Any, weight: Any, count: int, axis: int) -> Made:
    layer.weight = weight
    found = node.bias(count, axis)
    if found is None:
        return layer, None
    layer.bias, following = found
    return layer, following


def _padding(a: Mapping[str, Any]) -> Any:
    return a["paddings"] if a["padding_algorithm"] == "EXPLICIT" else a["padding_algorithm"]


def _form(a: Mapping[str, Any]) -> str:
    return "NCHW" if a["data_format"] == "AnyLayout" else str(a["data_format"])


def _batch_norm(node: Node) -> Any:
    a, rank = node.attributes, len(node.shape())
    form = {3: {"NCHW": "NCL", "NHWC": "NLC"}, 2: {"NCHW": "NCL"}}.get(rank, {})
    own = a["trainable_statistics"] or not (a["is_test"] or a["use_global_stats"])
    layer = _BATCH_NORMS[rank](
        node.parameter(1).shape[0],
        a["momentum"],
        a["epsilon"],
        weight_attr=None if node.given(3) else False,
        bias_attr=None if node.given(4) else False,
        data_format=form.get(_form(a), _form(a)),
        use_global_stats=False if own else None,
    )
    layer._mean, layer._variance = node.parameter(1), node.parameter(2)
    return _scaled(node, layer, 3)


def _scaled(node: Node, layer: Any, first: int, names: tuple[str, str] = ("weight", "bias")) -> Any:
    for k, name in enumerate(names, first):
        if node.given(k):
            setattr(layer, name, node.parameter(k))
    return layer


def _layer_norm(node: Node) -> Any:
    a = node.attributes
    shape = list(node.shape()[a["begin_norm_axis"] :])
    weight = node.parameter(1) if node.given(1) else None
    if min(shape, default=-1) < 1:
        if len(shape) != 1 or weight is None:
            raise Unfit
        shape = [weight.shape[0]]
    given = {"weight_attr": None if node.given(1) else False}
    given["bias_attr"] = None if node.given(2) else False
    return _scaled(node, nn.LayerNorm(shape, a["epsilon"], **given), 1)


def _group_norm(node: Node) -> Any:
    a, form = node.attributes, _form(node.attributes)
    count = node.parameter(1).shape[0] if node.given(1) else node.shape()[_channels(node, form)]
    given = {"weight_attr": None if node.given(1) else False}
    given["bias_attr"] = None if node.given(2) else False
    layer = nn.GroupNorm(a["groups"], count, a["epsilon"], data_format=form, **given)
    return _scaled(node, layer, 1)


def _instance_norm(node: Node) -> Any:
    count = node.parameter(1).shape[0] if node.given(1) else node.shape()[1]
    given = {} if node.given(1) else {"weight_attr": False, "bias_attr": False}
    layer = _INSTANCE_NORMS[len(node.shape())](count, node.attributes["epsilon"], **given)
    return _scaled(node, layer, 1, ("scale", "bias"))


def _embedding(node: Node) -> Any:
    weight = node.parameter(1)
    layer = nn.Embedding(*weight.shape)
    layer.weight, layer._padding_idx = weight, node.attributes["padding_idx"]
    return layer


def _prelu(node: Node) -> Any:
    weight = node.parameter(1)
    layer = nn.PReLU(weight.size, data_format=_form(node.attributes))
    layer._weight = weight
    return layer


def _pool(node: Node) -> Any:
    a, maximum = node.attributes, node.attributes["pooling_type"] == "max"
    three, form = node.op.name == "pool3d", _form(node.attributes)
    size = [1] * (2 + three) if a["global_pooling"] else node.numbers(1)
    if a["adaptive"] or a["global_pooling"]:
        kinds = (nn.AdaptiveAvgPool3D, nn.AdaptiveMaxPool3D) if three else _ADAPTIVE
        if maximum and form[:2] != "NC":
            raise Unfit
        return kinds[maximum](size) if maximum else kinds[maximum](size, data_format=form)
    kind = ((nn.AvgPool3D, nn.MaxPool3D) if three else (nn.AvgPool2D, nn.MaxPool2D))[maximum]
    exclusive = {} if maximum else {"exclusive": a["exclusive"]}
    how = {"ceil_mode": a["ceil_mode"], "data_format": form}
    return kind(size, a["strides"], _padding(a), **how, **exclusive)


def _pool_with_index(node: Node) -> Any:
    a, size = node.attributes, node.attributes["kernel_size"]
    if a["global_pooling"]:
        size = [1, 1]
    if a["adaptive"] or a["global_pooling"]:
        return nn.AdaptiveMaxPool2D(size, return_mask=True)
    more = {"return_mask": True, "ceil_mode": a["ceil_mode"]}
    return nn.MaxPool2D(size, a["strides"], a["paddings"], **more)


def _dropout(node: Node) -> Any:
    a = node.attributes
    if not a["is_test"]:
        raise Unfit
    p, grown = node.numbers(2), a["mode"].startswith("upscale")
    mode = "upscale_in_train" if grown else "downscale_in_infer"
    return nn.Dropout(p[0] if isinstance(p, list) else p, mode=mode)


def _activation(kind: Any, *names: str) -> Callable[[Node], Any]:
    """A layer whose arguments are these attributes."""
    return lambda node: kind(*(node.attributes[name] for name in names))


LAYERS: dict[str, Callable[[Node], Any]] = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), _transposed),
    "conv3d_transpose": _transposed,
    "matmul": _linear,
    **dict.fromkeys(("batch_norm", "sync_batch_norm"), _batch_norm),
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "embedding": _embedding,
    "prelu": _prelu,
    **dict.fromkeys(("pool2d", "pool3d"), _pool),
    "max_pool2d_with_index": _pool_with_index,
    "dropout": _dropout,
    "relu": _activation(nn.ReLU),
    "relu6": _activation(nn.ReLU6),
    "leaky_relu": _activation(nn.LeakyReLU, "negative_slope"),
    "elu": _activation(nn.ELU, "alpha"),
    "celu": _activation(nn.CELU, "alpha"),
    "selu": _activation(nn.SELU, "scale", "alpha"),
    "gelu": _activation(nn.GELU, "approximate"),
    "silu": _activation(nn.Silu),
    "swish": _activation(nn.Swish),
    "mish": _activation(nn.Mish),
    "hardswish": _activation(nn.Hardswish),
    "hardtanh": _activation(nn.Hardtanh, "t_min", "t_max"),
    "sigmoid": _activation(nn.Sigmoid),
    "logsigmoid": _activation(nn.LogSigmoid),
    "tanh": _activation(nn.Tanh),
    "tanh_shrink": _activation(nn.Tanhshrink),
    "softplus": _activation(nn.Softplus, "beta", "threshold"),
    "softshrink": _activation(nn.Softshrink, "threshold"),
    "hardshrink": _activation(nn.Hardshrink, "threshold"),
    "softsign": _activation(nn.Softsign),
    "softmax": _activation(nn.Softmax, "axis"),
    "log_softmax": _activation(nn.LogSoftmax, "axis"),
}
