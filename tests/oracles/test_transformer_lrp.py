"""Chefer's transformer LRP: relevance at attention against explicit messages, and the product."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.errors import InputError, UnsupportedModelError
from interpretdl.interpreter.transformer_lrp import attention_product
from interpretdl.rules import Site
from interpretdl.rules.transformer_lrp import TRANSFORMER_LRP, NormalizedSum
from interpretdl.testing import small_transformer
from interpretdl.testing.samples import pictures
from tests.oracles import transformer_lrp_numpy as by_hand
from tests.oracles.rules_numpy import relative
from tests.oracles.test_attention import Averaged, Written, filled, images
from tests.paddle_models.transformers import SwinTransformer

Array = NDArray[Any]
LABELS = [1, 4, 0]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
def test_relevance_at_attention_by_hand(dtype: str, tolerance: float) -> None:
    model = small_transformer()
    model.to(dtype=dtype)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    x = images(3).astype(dtype)
    target = it.ClassScore(LABELS)
    found = it.Probe(model).attention(x, target, rules=TRANSFORMER_LRP)
    plain = it.Probe(model).attention(x, target)
    for n, (image, label) in enumerate(zip(x, LABELS, strict=True)):
        layers = by_hand.small_transformer(state, image.astype("float64"), label)
        for layer, (attention, relevance) in enumerate(layers):
            a, gradient = found.maps[layer][n], found.gradients[layer][n]
            assert relative(a, attention) < tolerance
            assert relative(a * gradient / found.scores[n], relevance) < tolerance
    # Rules change no value, and the gradient without them is another one.
    np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-5)
    assert relative(found.gradients[0], plain.gradients[0]) > 0.1


def test_the_map_by_hand() -> None:
    model = small_transformer()
    model.to(dtype="float64")
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    x = images(3)
    found = it.TransformerLRPInterpreter(model).explain(x, label=LABELS)
    gradients = it.Probe(model).attention(x.astype("float64"), it.ClassScore(LABELS)).gradients
    for n, (image, label) in enumerate(zip(x, LABELS, strict=True)):
        matrix = np.eye(17)
        layers = by_hand.small_transformer(state, image.astype("float64"), label)
        for (_, relevance), gradient in zip(layers, gradients, strict=True):
            mean = sum(np.maximum(gradient[n, h] * relevance[h], 0) for h in range(2)) / 2
            matrix = (np.eye(17) + mean) @ matrix
        expected = matrix[0, 1:].reshape(4, 4)
        assert relative(found.values[n], expected) < 1e-5


def test_the_product_by_hand() -> None:
    rng = np.random.default_rng(0)
    gradients, relevance = rng.normal(size=(2, 3, 2, 4, 5, 5))
    found = attention_product(list(gradients), list(relevance))
    for n in range(2):
        expected = np.eye(5)
        for g, r in zip(gradients, relevance, strict=True):
            expected = (np.eye(5) + np.maximum(g[n] * r[n], 0).mean(axis=0)) @ expected
        np.testing.assert_allclose(found[n], expected, rtol=1e-12)
    still = attention_product([0 * g for g in gradients], list(relevance))
    np.testing.assert_array_equal(still, [np.eye(5)] * 2)


def test_a_sum_shares_by_the_sizes_of_its_parts() -> None:
    rng = np.random.default_rng(1)
    a, b, g = (paddle.to_tensor(rng.normal(size=(3, 4, 5))) for _ in range(3))
    b[2] = -a[2]  # nothing arrives there
    a.stop_gradient = b.stop_gradient = False
    y = NormalizedSum()(Site("add", a, a + b, operands=(a, b)))
    np.testing.assert_array_equal(y.numpy(), (a + b).numpy())
    got = [
        (part * gradient).numpy().sum(axis=(1, 2))
        for part, gradient in zip((a, b), paddle.grad(y, [a, b], g), strict=True)
    ]
    whole = ((a + b) * g).numpy().sum(axis=(1, 2))
    plain = [(part * g).numpy().sum(axis=(1, 2)) for part in (a, b)]
    sizes = np.abs(plain)
    for mine, size in zip(got, sizes, strict=True):
        np.testing.assert_allclose(mine, size / sizes.sum(axis=0) * whole, rtol=1e-10, atol=1e-12)


class Enlarged(nn.Layer):
    """A model with its logits multiplied."""

    def __init__(self, model: Any, by: float) -> None:
        super().__init__()
        self.model, self.by = model, by

    def forward(self, x: Any) -> Any:
        return self.model(x) * self.by


def test_a_class_whose_logit_is_negative_is_explained_like_another() -> None:
    """Relevance begins with 1 at the class, not with the logit."""
    model, x = small_transformer(), images(2)
    rules = TRANSFORMER_LRP
    for by in (3.0, -1.0):
        one, other = (
            it.Probe(m).attention(x, it.ClassScore(2), rules=rules)
            for m in (model, Enlarged(model, by))
        )
        for mine, theirs in zip(one.gradients, other.gradients, strict=True):
            a = mine / one.scores[:, None, None, None]
            b = theirs / other.scores[:, None, None, None]
            assert relative(a, b) < 1e-4
    # So three times the logits are three times the entries of each layer.
    values = [
        it.TransformerLRPInterpreter(m).explain(x, label=2, start_layer=1).values
        for m in (model, Enlarged(model, 3.0))
    ]
    assert relative(3 * values[0], values[1]) < 1e-4


@pytest.mark.parametrize("way", ["matmul", "operator", "sdpa", "layer", "encoder"])
def test_however_attention_is_written(way: str) -> None:
    found = it.TransformerLRPInterpreter(filled(Written(way))).explain(images(), label=1)
    assert found.values.shape == (2, 4, 4)
    assert found.values.min() >= 0
    assert found.values.max() > 0
    if way in ("operator", "sdpa"):
        first = it.TransformerLRPInterpreter(filled(Written("matmul"))).explain(images(), label=1)
        assert relative(found.values, first.values) < 1e-4


def test_where_the_patches_are_averaged() -> None:
    model = filled(Averaged(), size=0.3)
    values = it.TransformerLRPInterpreter(model).explain(images(1, 32), label=1).values
    assert values.max() > 0


def test_batches_the_start_layer_and_what_is_refused() -> None:
    model = small_transformer()
    x = pictures(model.preprocessing)
    whole = it.TransformerLRPInterpreter(model).explain(x, label=LABELS)
    one = it.TransformerLRPInterpreter(model, batch_size=1).explain(x, label=LABELS)
    assert relative(one.values, whole.values) < 1e-4
    with pytest.raises(InputError, match="from 0 to 1"):
        it.TransformerLRPInterpreter(model).explain(x, start_layer=2)
    with pytest.raises(InputError, match="gradient_of"):
        it.TransformerLRPInterpreter(model).explain(x, gradient_of="probability")
    for network in (it.lrp_model.resnet18(), filled(SwinTransformer())):
        with pytest.raises(UnsupportedModelError, match=r"does not attend|within windows"):
            it.TransformerLRPInterpreter(network).explain(images(1, 32))
