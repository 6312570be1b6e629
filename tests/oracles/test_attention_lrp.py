"""Relevance through attention: AttnLRP and CP-LRP against explicit messages, and how a model is
written does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl import Probe
from interpretdl.errors import UnsupportedModelError
from interpretdl.rules import composite_of
from interpretdl.testing import small_transformer
from tests import paddle_models
from tests.oracles import attention_lrp_numpy as by_hand
from tests.oracles.lrp_by_hand import images as small_images
from tests.oracles.lrp_by_hand import network
from tests.oracles.rules_numpy import relative
from tests.oracles.test_attention import Written, filled, images

Array = NDArray[Any]
NAMES = ("attn_lrp", "cp_lrp", "attn_lrp_gamma")
LABELS = [1, 4, 0]
every = pytest.mark.parametrize("composite", NAMES)


def relevance(model: Any, x: Array, labels: Any = LABELS, composite: str = "attn_lrp") -> Any:
    target = it.ClassScore(labels)
    return Probe(model).gradients(x, target, rules=composite_of(composite)).relevance


# -- explicit messages -----------------------------------------------------------------------------


@pytest.mark.parametrize("composite", ["attn_lrp", "cp_lrp"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_messages_by_hand(composite: str, dtype: str, tolerance: float) -> None:
    model = small_transformer()
    model.to(dtype=dtype)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    x = images(3).astype(dtype)
    constant = composite == "cp_lrp"
    passed = [
        by_hand.small_transformer(state, image.astype("float64"), label, constant)
        for image, label in zip(x, LABELS, strict=True)
    ]
    rules = composite_of(composite)
    found = Probe(model).gradients(x, it.ClassScore(LABELS), rules=rules)
    np.testing.assert_allclose(found.scores, [score for score, _, _ in passed], rtol=tolerance)
    for got, (_, expected, _) in zip(found.relevance, passed, strict=True):
        assert relative(got, expected) < tolerance
    # In one's and two's, each image with its label.
    parts = [relevance(model, x[k], LABELS[k], composite) for k in (slice(0, 1), slice(1, 3))]
    assert relative(np.concatenate(parts), found.relevance) < max(tolerance, 1e-9)
    # What the account says of the position and the class token.
    audit = it.LRPInterpreter(model).audit(x.astype("float32"), LABELS, composite=composite)
    seams = {seam.name: seam for seam in audit.seams}
    for name, key in (("pos_embed", "position"), ("concat", "class")):
        kept = [facts[key] for _, _, facts in passed]
        np.testing.assert_allclose(seams[name].bias, kept, rtol=1e-3, atol=1e-4)


# -- one way of writing is another -----------------------------------------------------------------


class Twin(nn.Layer):
    """A Written("encoder") with its encoder's layers written out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        x = self.model.embed(x).flatten(2).transpose([0, 2, 1])
        n, tokens, width = x.shape
        for layer in self.model.encoder.layers:
            y, attend = layer.norm1(x), layer.self_attn
            q, k, v = (
                project(y).reshape([n, tokens, 2, width // 2]).transpose([0, 2, 1, 3])
                for project in (attend.q_proj, attend.k_proj, attend.v_proj)
            )
            weights = F.softmax(q * 0.5 @ k.transpose([0, 1, 3, 2]), axis=-1)
            mixed = (weights @ v).transpose([0, 2, 1, 3]).reshape([n, tokens, width])
            x = x + attend.out_proj(mixed)
            x = x + layer.linear2(F.relu(layer.linear1(layer.norm2(x))))
        return self.model.head(x.mean(axis=1))


@every
def test_one_way_of_writing_is_another(composite: str) -> None:
    x = images(3)
    first, *others = (
        relevance(filled(Written(way)), x, composite=composite)
        for way in ("matmul", "operator", "sdpa")
    )
    for other in others:
        assert relative(other, first) < 1e-5
    model = filled(Written("encoder"))
    twin = relevance(Twin(model), x, composite=composite)
    assert relative(relevance(model, x, composite=composite), twin) < 1e-5


class Made(nn.Layer):
    """A dense layer, a function, a dense layer, on [N, 6]."""

    def __init__(self, function: Callable[[Any], Any], width: int = 8) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(6, 8), nn.Linear(width, 5)
        self.function = function
        filled(self)

    def forward(self, x: Any) -> Any:
        return self.after(self.function(self.before(x)))


def rows(n: int = 3) -> Array:
    return np.random.default_rng(5).normal(size=(n, 6)).astype(np.float32)


def squares(x: Any) -> Any:
    return (x * x).mean(axis=-1, keepdim=True) + 1e-5


def written_norm(x: Any) -> Any:
    x = x - x.mean(axis=-1, keepdim=True)
    return x / paddle.sqrt(squares(x))


def swiglu(x: Any, y: Any = None) -> Any:
    return paddle._C_ops.swiglu(x, y)  # whose function moved between versions of Paddle


def gated(x: Any) -> Any:
    a, b = x.chunk(2, axis=-1)
    return F.silu(a) * b


SAME: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], int]] = {
    "layer-norm": (lambda x: F.layer_norm(x, [8]), written_norm, 8),
    "RMS-norm": (lambda x: x * paddle.rsqrt(squares(x)), lambda x: x / squares(x).sqrt(), 8),
    "cosine": (
        lambda x: F.normalize(x, axis=-1),
        lambda x: x / (x * x).sum(axis=-1, keepdim=True).sqrt(),
        8,
    ),
    "swiglu": (swiglu, gated, 4),
    "swiglu of two": (lambda x: swiglu(*x.chunk(2, axis=-1)), gated, 4),
    "swiglu, gate constant": (
        lambda x: swiglu(paddle.ones_like(x), x),
        lambda x: x / (1 + np.exp(-1)),
        8,
    ),
    "swiglu, only the gate": (
        lambda x: swiglu(x, paddle.full_like(x, 2.0)),
        lambda x: F.silu(x) * 2,
        8,
    ),
    "product": (lambda x: paddle.multiply(x, x + 1), lambda x: x * (x + 1), 8),
    "einsum": (
        lambda x: paddle.einsum("ni,nj->nij", x, x).mean(axis=2),
        lambda x: (x[:, :, None] @ x[:, None]).mean(axis=2),
        8,
    ),
    "bmm": (
        lambda x: paddle.bmm(x[:, :, None], x[:, None]).mean(axis=2),
        lambda x: (x[:, :, None] * x[:, None]).mean(axis=2),
        8,
    ),
    "mm": (
        lambda x: paddle.mm(x[:, :, None], x[:, None]).mean(axis=2),
        lambda x: (x[:, :, None] * x[:, None]).mean(axis=2),
        8,
    ),
    "by name": (
        lambda x: paddle.matmul(x=x[:, :, None], y=x[:, None]).mean(axis=2),
        lambda x: (x[:, :, None] * x[:, None]).mean(axis=2),
        8,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_functions_are_what_they_are_written_out(name: str) -> None:
    one, other, width = SAME[name]
    found, expected = (relevance(Made(f, width), rows()) for f in (one, other))
    assert np.abs(expected).max() > 0
    assert relative(found, expected) < 1e-4


def test_rms_norm_as_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no kernel on CPUs: one is put in its place, which gives two results as it does."""

    def kernel(x: Any, weight: Any, shape: Any, epsilon: float) -> Any:
        scale = paddle.rsqrt((x * x).mean(axis=-1, keepdim=True) + epsilon)
        return x * scale * weight, scale

    monkeypatch.setattr(paddle._C_ops, "rms_norm", kernel, raising=False)
    weight = paddle.to_tensor(np.linspace(-1, 2, 8).astype(np.float32))
    one = Made(lambda x: paddle._C_ops.rms_norm(x, weight, [8], 1e-5)[0])
    other = Made(lambda x: x / squares(x).sqrt() * weight)
    assert relative(relevance(one, rows()), relevance(other, rows())) < 1e-4


def test_a_product_is_shared() -> None:
    """x²: the same as if each x had its own copy."""
    model = Made(lambda x: x * x, 8)
    for layer in (model.before, model.after):
        layer.bias.set_value(paddle.zeros_like(layer.bias))
    x = rows()
    with paddle.no_grad():
        middle = model.before(paddle.to_tensor(x)).numpy()
    weights, last = model.before.weight.numpy(), model.after.weight.numpy()[:, LABELS].T
    contributions = x[:, :, None] * weights / middle[:, None]
    expected = np.einsum("nij,nj->ni", contributions, middle**2 * last)
    assert relative(relevance(model, x), expected) < 1e-4


class Normed(nn.Layer):
    """A dense layer with a batch-norm, of tokens that LeViT puts into the first axis for it."""

    def __init__(self, folded: bool) -> None:
        super().__init__()
        self.first, self.dense, self.last = nn.Linear(6, 8), nn.Linear(4, 4), nn.Linear(8, 5)
        self.norm = nn.BatchNorm1D(4)
        filled(self)
        self.norm._mean.set_value(np.linspace(-1, 1, 4).astype(np.float32))
        self.norm._variance.set_value(np.linspace(0.5, 2, 4).astype(np.float32))
        self.norm.weight.set_value(np.float32([0.5, -2, 1, 1.5]))
        if folded:
            scale = self.norm.weight / paddle.sqrt(self.norm._variance + 1e-5)
            self.dense.weight.set_value(self.dense.weight * scale)
            moved = (self.dense.bias - self.norm._mean) * scale + self.norm.bias
            self.dense.bias.set_value(moved)
            self.norm = nn.Identity()
        self.eval()

    def forward(self, x: Any) -> Any:
        x = self.dense(F.relu(self.first(x)).reshape([-1, 2, 4]))
        return self.last(F.gelu(self.norm(x.flatten(0, 1)).reshape([-1, 8])))


def test_a_batch_norm_that_is_not_folded() -> None:
    models = (Normed(folded) for folded in (False, True))
    found, expected = (relevance(model, rows()) for model in models)
    assert relative(found, expected) < 1e-4
    audit = it.LRPInterpreter(Normed(False), preprocessing=None).audit(
        rows(), LABELS, composite="attn_lrp"
    )
    assert np.all(next(seam.bias for seam in audit.seams if seam.name == "norm") != 0)
    missing = audit.start - audit.absorbed - audit.input
    np.testing.assert_allclose(missing, 0, atol=1e-4 * np.abs(audit.start).max())


def test_convolutional_networks_work_too() -> None:
    x = small_images()
    expected = relevance(network(), x, [2, 0, 3], "epsilon")
    for composite in ("attn_lrp", "cp_lrp"):
        assert relative(relevance(network(), x, [2, 0, 3], composite), expected) < 1e-5


# -- where relevance goes --------------------------------------------------------------------------


class Biasless(nn.Layer):
    """A transformer without biases, positions and class token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2D(3, 8, 4, 4, bias_attr=False)
        self.norms = nn.LayerList([nn.LayerNorm(8, bias_attr=False) for _ in range(5)])
        self.qkv = nn.LayerList([nn.Linear(8, 24, bias_attr=False) for _ in range(2)])
        self.out = nn.LayerList([nn.Linear(8, 8, bias_attr=False) for _ in range(2)])
        self.up = nn.LayerList([nn.Linear(8, 16, bias_attr=False) for _ in range(2)])
        self.down = nn.LayerList([nn.Linear(16, 8, bias_attr=False) for _ in range(2)])
        self.head = nn.Linear(8, 5, bias_attr=False)

    def forward(self, x: Any) -> Any:
        x = self.embed(x).flatten(2).transpose([0, 2, 1])
        n, tokens, _ = x.shape
        for i in range(2):
            z = self.qkv[i](self.norms[2 * i](x)).reshape([n, tokens, 3, 2, 4])
            q, k, v = z.transpose([2, 0, 1, 3, 4])
            mixed = F.scaled_dot_product_attention(q, k, v).reshape([n, tokens, 8])
            x = x + self.out[i](mixed)
            x = x + self.down[i](F.gelu(self.up[i](self.norms[2 * i + 1](x))))
        return self.head(self.norms[4](x).mean(axis=1))


def test_without_biases_cp_lrp_conserves_and_attn_lrp_does_not() -> None:
    """But for the stabilizers' shares."""
    model = filled(Biasless())
    model.to(dtype="float64")
    x = images(3).astype("float64")
    scores = Probe(model).logits(x)[np.arange(3), LABELS]
    sums = {name: relevance(model, x, composite=name).sum((1, 2, 3)) for name in NAMES}
    np.testing.assert_allclose(sums["cp_lrp"], scores, rtol=1e-5)
    np.testing.assert_allclose(sums["attn_lrp_gamma"], scores, rtol=1e-3)
    assert np.all(np.abs(sums["attn_lrp"] - scores) > 0.01 * np.abs(scores))
    interpreter = it.LRPInterpreter(model, preprocessing=None)
    inside = interpreter.relevance(x, LABELS, layer=["embed", "norms.4"], composite="cp_lrp")
    for values in inside.values():  # at the tokens, [N, 8, 4, 4] and [N, 16, 8]
        np.testing.assert_allclose(values.sum(axis=tuple(range(1, values.ndim))), scores, rtol=1e-5)
    audit = interpreter.audit(x, LABELS, composite="attn_lrp")
    softmax = np.sum([s.arrived - s.passed for s in audit.seams if s.name == "softmax"], axis=0)
    np.testing.assert_allclose(audit.start - audit.input, softmax, rtol=1e-3, atol=1e-4)


MODELS = ("vit", "deit", "swin", "convnext", "levit", "tnt")


@every
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:stabilizers keep")
def test_the_account_of_paddles_families(name: str, composite: str) -> None:
    model = paddle_models.MODELS[name][0]()
    x = images(2, side=32)
    interpreter = it.LRPInterpreter(model, preprocessing=None)
    e = interpreter.explain(x, [1, 3], composite=composite)
    assert np.isfinite(e.values).all()
    assert np.all(np.abs(e.values).max(axis=tuple(range(1, e.values.ndim))) > 0)
    audit = interpreter.audit(x, [1, 3], composite=composite)
    size = np.max([np.abs(seam.arrived) for seam in audit.seams], axis=0)
    missing = np.abs(audit.start - audit.absorbed - audit.input)
    assert np.all(missing <= 1e-3 * size), (missing, size)
    names = [seam.name for seam in audit.seams]
    attends = name != "convnext"
    assert ("softmax" in names) == (attends and composite == "attn_lrp")
    for token in ("pos_embed", "concat"):
        assert (token in names) == (name in ("vit", "deit", "tnt")) or name == "tnt"
    alone = [interpreter.explain(x[i : i + 1], [1, 3][i], composite=composite) for i in (0, 1)]
    joined = np.concatenate([one.values for one in alone])
    assert relative(joined, e.values) < 1e-3


def test_masked_attention() -> None:
    """A mask of -inf: what is masked gets nothing, and nothing becomes NaN."""
    mask = np.where(np.tri(8) > 0, 0, -np.inf).astype(np.float32)

    def attend(x: Any) -> Any:
        weights = F.softmax(x[:, :, None] @ x[:, None] + paddle.to_tensor(mask), axis=-1)
        return (weights @ x[:, :, None]).squeeze(2)

    interpreter = it.LRPInterpreter(Made(attend), preprocessing=None)
    e = interpreter.explain(rows(), LABELS, composite="attn_lrp")
    audit = interpreter.audit(rows(), LABELS, composite="attn_lrp")
    assert np.isfinite(e.values).all()
    assert np.isfinite(audit.absorbed).all()
    np.testing.assert_allclose(audit.start - audit.absorbed, audit.input, rtol=1e-3, atol=1e-3)


# -- what is refused -------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "softmax by hand": (lambda x: paddle.exp(x) / paddle.exp(x).sum(-1, keepdim=True), "exp"),
    "a constant over it": (lambda x: 1 / (x * x + 1), "divide"),
    "power": (lambda x: x**3, "pow"),
    "softplus": (F.softplus, "softplus"),
    "log-softmax": (lambda x: F.log_softmax(x, axis=-1), "log_softmax"),
}


@every
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_rule_reaches_is_refused(name: str, composite: str) -> None:
    function, operation = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=operation):
        relevance(Made(function), rows(), composite=composite)


def test_other_composites_refer_to_this_one() -> None:
    for composite in ("epsilon_gamma_box", "z_plus_box"):
        with pytest.raises(UnsupportedModelError, match=r'take LRP with composite="attn_lrp"'):
            it.LRPInterpreter(small_transformer()).explain(images(), 0, composite=composite)
    with pytest.raises(UnsupportedModelError) as error:
        relevance(Made(paddle.exp), rows(), composite="epsilon")
    assert "attn_lrp" not in str(error.value)


def test_no_trace_and_the_next_run_is_a_plain_one() -> None:
    model, x = small_transformer(), images(2)
    before = Probe(model).gradients(x, it.ClassScore(1)).input
    relevance(model, x, 1)
    np.testing.assert_array_equal(Probe(model).gradients(x, it.ClassScore(1)).input, before)
