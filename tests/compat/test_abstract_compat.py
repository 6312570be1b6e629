"""The `predict_fn` of InterpretDL's abstract classes, against Paddle alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.interpreter import abc_interpreter
from interpretdl.testing import differences, state_of
from tests.by_paddle import gradient_of, softmax

X = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


class Inputs(it.InputGradientInterpreter):
    def interpret(self) -> None:  # type: ignore[override]
        pass


class Outputs(it.InputOutputInterpreter):
    def interpret(self) -> None:  # type: ignore[override]
        pass


class Layers(it.IntermediateLayerInterpreter):
    def interpret(self) -> None:  # type: ignore[override]
        pass


class Gradients(it.IntermediateGradientInterpreter):
    def interpret(self) -> None:  # type: ignore[override]
        pass


class Blocks(it.TransformerInterpreter):
    def interpret(self) -> None:  # type: ignore[override]
        pass


def test_they_are_where_interpretdl_has_them() -> None:
    assert abc_interpreter.Interpreter is it.Interpreter
    for name in abc_interpreter.__all__:
        assert getattr(it, name) is getattr(abc_interpreter, name)


def test_input_gradients_and_a_predict_fn_of_ones_own(toy: Any) -> None:
    model = toy()
    model.train()
    before = state_of(model)
    method = Inputs(model, "cpu")
    for kind in ("probability", "logit", "loss"):
        method._build_predict_fn(gradient_of=kind)  # type: ignore[arg-type]
        gradient, labels, odds = method.predict_fn(X, np.array([[3], [1]]))
        model.eval()
        np.testing.assert_allclose(gradient, gradient_of(model, X, [3, 1], kind), 1e-3, 1e-6)
        np.testing.assert_allclose(odds, softmax(model, X), 1e-4, 1e-6)
        model.train()
        assert labels.tolist() == [3, 1]
    assert not differences(before, state_of(model))
    with pytest.raises(it.InputError, match="gradient_of must be one of"):
        method._build_predict_fn(gradient_of="logits")  # type: ignore[arg-type]
    own = method.predict_fn = lambda x: x
    method._build_predict_fn()
    assert method.predict_fn is own
    method._build_predict_fn(rebuild=True)
    assert method.predict_fn is not own


def test_inputs_and_outputs(toy: Any) -> None:
    model = toy()
    method = Outputs(model)
    odds = softmax(model, X)
    method._build_predict_fn()
    found, labels, probabilities = method.predict_fn(X, [1, 2])
    np.testing.assert_allclose(found, odds, 1e-4, 1e-6)
    assert found is probabilities
    assert labels.tolist() == [1, 2]
    method._build_predict_fn(output="logit")
    found, labels, probabilities = method.predict_fn(X)
    np.testing.assert_allclose(found, it.Probe(model).logits(X), 1e-6)
    assert labels.tolist() == odds.argmax(axis=1).tolist()
    with pytest.raises(it.InputError, match="'probability' or 'logit'; got 'loss'"):
        method._build_predict_fn(output="loss")


def test_inner_layers(toy: Any) -> None:
    model = toy()
    method = Layers(model)
    method._build_predict_fn(target_layer="2")
    (features,), odds, labels = method.predict_fn(X)
    np.testing.assert_array_equal(features, it.Probe(model).activations(X, "2")["2"])
    np.testing.assert_allclose(odds, softmax(model, X), 1e-4, 1e-6)
    assert labels.tolist() == odds.argmax(axis=1).tolist()
    method._build_predict_fn(target_layer_pattern="[0-2]$")
    assert len(method.predict_fn(X)[0]) == 3
    for wrong in ({}, {"target_layer": "2", "target_layer_pattern": "2"}):
        with pytest.raises(it.InputError, match="one of the two"):
            method._build_predict_fn(**wrong)
    with pytest.raises(it.LayerNotFoundError, match="no layer's name begins with 'x'"):
        method._build_predict_fn(target_layer_pattern="x")
    with pytest.raises(it.InputError, match="no regular expression"):
        method._build_predict_fn(target_layer_pattern="(")


class Text(nn.Layer):
    """Two blocks of attention over token numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(11, 8)
        self.blocks = nn.LayerList([Block() for _ in range(2)])
        self.last = nn.Linear(8, 3)

    def forward(self, tokens: Any) -> Any:
        x = self.word_embeddings(tokens)
        for block in self.blocks:
            x = block(x)
        return self.last(x.mean(axis=1))


class Block(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj, self.attn = nn.Linear(8, 24), nn.Linear(8, 8), nn.Dropout(0.1)

    def forward(self, x: Any) -> Any:
        q, k, v = self.qkv(x).chunk(3, axis=-1)
        weights = self.attn(F.softmax(q @ k.transpose([0, 2, 1]) / 8**0.5))
        return x + self.proj(weights @ v)


@pytest.fixture
def text() -> Any:
    paddle.seed(0)
    return Text().eval()


TOKENS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])


def test_gradients_at_an_embedding(text: Any) -> None:
    method = Gradients(text)
    method._build_predict_fn()  # word_embeddings
    gradient, labels, features, odds = method.predict_fn(TOKENS, [0, 2])
    embedded = text.word_embeddings(paddle.to_tensor(TOKENS)).numpy()
    np.testing.assert_allclose(features, embedded, 1e-6)
    assert labels.tolist() == [0, 2]
    np.testing.assert_allclose(odds, softmax(text, TOKENS), 1e-4, 1e-6)
    # a small step along the gradient changes the probability by its square
    step = 1e-2
    moved = it.Probe(text, batch_size=2).logits(
        TOKENS, edit={"word_embeddings": lambda e: e + step * paddle.to_tensor(gradient)}
    )
    change = F.softmax(paddle.to_tensor(moved)).numpy()[range(2), labels] - odds[range(2), labels]
    expected = step * (gradient**2).sum(axis=(1, 2))
    np.testing.assert_allclose(change, expected, rtol=0.05)
    halved = method.predict_fn(TOKENS, [0, 2], scale=0.5)[2]
    np.testing.assert_allclose(halved, embedded / 2, 1e-6)
    one, other = (method.predict_fn(TOKENS, [0, 2], noise_amount=0.5)[2] for _ in range(2))
    assert np.abs(one - other).max() > 0


def test_what_a_transformer_gives(text: Any) -> None:
    method = Blocks(text)
    method._build_predict_fn(
        embedding_name="word_embeddings$",
        input_name=r"blocks\.\d$",
        attn_map_name=r"blocks\.\d\.attn",
        attn_v_name=r"blocks\.\d\.qkv",
        attn_proj_name=r"blocks\.\d\.proj",
        gradient_of="logit",
    )
    maps, gradients, inputs, values, weights, odds, labels = method.predict_fn(TOKENS)
    assert [m.shape for m in maps + gradients] == [(2, 4, 4)] * 4
    for one in maps:
        np.testing.assert_allclose(one.sum(axis=-1), 1, rtol=1e-5)
    embedded = text.word_embeddings(paddle.to_tensor(TOKENS))
    np.testing.assert_allclose(inputs[0], embedded.numpy(), 1e-6)
    expected = text.blocks[0].qkv(embedded).numpy()[0, :, 16:]
    np.testing.assert_allclose(values[0], expected, 1e-5, 1e-6)
    np.testing.assert_array_equal(weights[1], text.blocks[1].proj.weight.numpy())
    np.testing.assert_allclose(odds, softmax(text, TOKENS), 1e-4, 1e-6)
    assert labels.tolist() == odds.argmax(axis=1).tolist()
    scaled = method.predict_fn(TOKENS, labels, scale=0.5)
    np.testing.assert_allclose(scaled[2][0], embedded.numpy() / 2, 1e-6)
    # the first block's attention reaches the score through the second's too
    step, name = 1e-3, "blocks.0.attn"
    moved = it.Probe(text, batch_size=2).logits(
        TOKENS, edit={name: lambda e: e + step * paddle.to_tensor(gradients[0])}
    )
    change = (moved - it.Probe(text).logits(TOKENS))[range(2), labels]
    np.testing.assert_allclose(change, step * (gradients[0] ** 2).sum(axis=(1, 2)), rtol=0.1)
