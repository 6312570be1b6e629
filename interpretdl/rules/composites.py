"""The composites that have names, in one table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import InputError, did_you_mean
from ..preprocessing import Preprocessing
from .activation import Clip, Deconvnet, Gate, Guided, PassThrough
from .attention import BatchNorm, Divided, LayerNorm, Parts, Shared, Softmax, Summand, SwiGLU
from .base import Rule
from .differences import (
    ProductDifference,
    QuotientDifference,
    Rescale,
    RescaleLayerNorm,
    RescaleMaxPool,
    RescaleSoftmax,
)
from .linear import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from .linear_map import BATCH_NORM, CONVOLUTION, DENSE
from .run import Composite

__all__ = ["COMPOSITES", "composite_of", "lrp_composite"]

# Through these, gradient times input passes relevance on in proportion, or to the winner.
LINEAR_OPERATIONS = frozenset(
    (
        *("add", "subtract", "concat", "stack", "split", "split_with_num", "slice"),
        *("strided_slice", "flatten", "reshape", "squeeze", "unsqueeze", "transpose", "unbind"),
        *("expand", "tile", "gather", "index_select", "roll", "flip", "assign", "cast", "pad"),
        *("pad3d", "mean", "sum", "pool2d", "pool3d", "max_pool2d_with_index", "dropout", "scale"),
        *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "nearest_interp"),
        "set_value_with_tensor",
        *("bilinear_interp", "as_strided", "view_shape", "div_scale", "unfold", "fold"),
        *("gather_nd", "roi_align"),
    )
)
# y = x times a constant that depends on the sign of x only.
HOMOGENEOUS = frozenset({"relu", "leaky_relu", "prelu", "abs", "maximum"})
_PASSED = ("relu6", "hardswish", "swish", "silu", "gelu", "elu", "mish", "tanh", "selu", "celu")
LRP_OPERATIONS: dict[str, Rule] = {
    **dict.fromkeys(_PASSED, PassThrough()),
    **dict.fromkeys(("sigmoid", "hardsigmoid"), Gate()),
    "clip": Clip(),
    "add": Summand(),
    "concat": Parts(),
}


# Products of two connected tensors meet a rule; of one, gradient times input is right.
_PRODUCTS = ("matmul", "bmm", "multiply", "einsum")
ATTENTION_OPERATIONS: dict[str, Rule] = {
    **LRP_OPERATIONS,
    **dict.fromkeys(_PRODUCTS, Shared()),
    **dict.fromkeys(("rms_norm", "fused_rms_norm_ext"), PassThrough()),
    "divide": Divided(),
    "rsqrt": Gate(),
    "layer_norm": LayerNorm(),
    "swiglu": SwiGLU(),
}


def lrp_composite(name: str, **parts: Any) -> Composite:
    """A composite for LRP: activations pass relevance on, gates are constants, rules as given.

    Args:
        parts: arguments of Composite: layers, first, last, names, conserves, operations.

    A user's own composite in a few lines:

        mine = lrp_composite("mine", layers={nn.Conv2D: Gamma(0.1), nn.Linear: Epsilon()},
                             first=ZBox(), names={"layer4.2.conv3": ZPlus()})
        LRPInterpreter(model).explain("cat.png", composite=mine)
    """
    parts = {"operations": LRP_OPERATIONS, "harmless": LINEAR_OPERATIONS | HOMOGENEOUS, **parts}
    return Composite(name, **parts)


def attention_composite(name: str, *, constant: bool = False, **parts: Any) -> Composite:
    """A composite for transformers; convolutional networks work too.

    Args:
        constant: whether attention is a constant, so that relevance goes to what is attended to
            only, and none to queries and keys.
        parts: arguments of Composite.
    """
    softmax: Rule = Gate() if constant else Softmax()
    operations = {**ATTENTION_OPERATIONS, "softmax": softmax}
    if constant:
        operations["softmax_"] = softmax
    # In place a softmax meets no rule, and needs none where it is not a constant.
    harmless = LINEAR_OPERATIONS | HOMOGENEOUS | {*_PRODUCTS} | (set() if constant else {"softmax"})
    parts["layers"] = {**dict.fromkeys(BATCH_NORM, BatchNorm()), **parts.get("layers", {})}
    return lrp_composite(name, **{"operations": operations, "harmless": harmless, **parts})


def _both(rule: Rule) -> dict[type, Rule]:
    return {CONVOLUTION: rule, DENSE: rule}


def _convolutions(rule: Rule) -> dict[type, Rule]:
    return {CONVOLUTION: rule, DENSE: Epsilon()}


_RELUS = ("relu", "relu6")
_RESCALED = ("relu", "leaky_relu", "sigmoid", "hardsigmoid", "clip", "pow", "sqrt", "rsqrt")
COMPOSITES: dict[str, Composite] = {
    composite.name: composite
    for composite in (
        lrp_composite("z_plus_box", layers=_both(ZPlus(bias=False)), first=ZBox(), conserves=True),
        lrp_composite("epsilon", layers=_both(Epsilon())),
        lrp_composite("epsilon_plus", layers=_convolutions(ZPlus())),
        lrp_composite("epsilon_plus_flat", layers=_convolutions(ZPlus()), first=Flat()),
        lrp_composite("epsilon_plus_box", layers=_convolutions(ZPlus()), first=ZBox()),
        lrp_composite("alpha1_beta0", layers=_both(AlphaBeta(1, 0))),
        lrp_composite("alpha2_beta1", layers=_both(AlphaBeta(2, 1))),
        lrp_composite("epsilon_alpha2_beta1", layers=_convolutions(AlphaBeta(2, 1))),
        lrp_composite(
            "epsilon_alpha2_beta1_flat", layers=_convolutions(AlphaBeta(2, 1)), first=Flat()
        ),
        lrp_composite("gamma", layers=_both(Gamma())),
        lrp_composite("epsilon_gamma_box", layers=_convolutions(Gamma()), first=ZBox()),
        lrp_composite("w_square", layers=_convolutions(ZPlus()), first=WSquare()),
        lrp_composite("deep_taylor", layers=_both(ZPlus()), first=ZBox()),
        lrp_composite("excitation_backprop", layers=_both(ZPlus(bias=False)), conserves=True),
        attention_composite("attn_lrp", layers=_both(Epsilon())),
        attention_composite("cp_lrp", layers=_both(Epsilon()), constant=True),
        attention_composite(
            "attn_lrp_gamma",
            layers={CONVOLUTION: Gamma(0.25), DENSE: Gamma(0.05)},
            constant=True,
        ),
        Composite(
            "guided",
            operations=dict.fromkeys((*_RELUS, "relu_"), Guided()),
            must_reach=frozenset(_RELUS),
        ),
        Composite(
            "deconvnet",
            operations=dict.fromkeys(_RELUS, Deconvnet()),
            must_reach=frozenset(_RELUS),
        ),
        Composite(
            "deep_lift",
            operations={
                **dict.fromkeys((*_PASSED, *_RESCALED), Rescale()),
                **dict.fromkeys((*_PRODUCTS, "bilinear"), ProductDifference()),
                "divide": QuotientDifference(),
                "softmax": RescaleSoftmax(),
                "layer_norm": RescaleLayerNorm(),
                **dict.fromkeys(("pool2d", "pool3d"), RescaleMaxPool()),
            },
            harmless=(LINEAR_OPERATIONS - {"max_pool2d_with_index"})
            | {"conv2d", "depthwise_conv2d", "conv3d", "conv2d_transpose", "batch_norm"}
            | {*_PRODUCTS},
        ),
    )
}


def composite_of(
    composite: str | Composite, preprocessing: Preprocessing | None = None
) -> Composite:
    """The composite of that name (or as given), its z-box filled with the preprocessing's range.

    Raises:
        InputError: no composite of that name; close matches are named.
    """
    if isinstance(composite, str):
        if composite not in COMPOSITES:
            known = f"; there are {', '.join(COMPOSITES)}"
            raise InputError(
                f"no composite {composite!r}{did_you_mean(composite, COMPOSITES) or known}"
            )
        composite = COMPOSITES[composite]
    if not isinstance(composite, Composite):
        raise InputError(f"composite must be a name or a Composite; got {type(composite).__name__}")
    first = composite.first
    if isinstance(first, ZBox) and first.low is None and preprocessing is not None:
        return replace(composite, first=ZBox(*preprocessing.bounds()))
    return composite
