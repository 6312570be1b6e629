"""Attention as the probe meets it, and the methods that follow it, against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.errors import InputError, LayerNotFoundError, UnsupportedModelError
from interpretdl.interpreter.attention import generic_attention, patches, rollout, row_of_class
from interpretdl.interpreter.attention_path import head_attention, state_of_class, token_attention
from interpretdl.probe import Attention
from interpretdl.testing import small_transformer
from interpretdl.testing.samples import pictures
from tests.paddle_models.transformers import SwinTransformer, VisionTransformer

Array = NDArray[Any]
METHODS = {
    "rollout": it.RolloutInterpreter,
    "generic_attention": it.GACVInterpreter,
    "attention_gradient": it.AttentionGradientInterpreter,
    "transition_attention": it.TAMInterpreter,
    "bidirectional_transformer": it.BTCVInterpreter,
}
every = pytest.mark.parametrize("name", METHODS)


def filled(model: Any, seed: int = 0, size: float = 0.5) -> Any:
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.set_value(rng.normal(0, size, parameter.shape).astype(np.float32))
    model.eval()
    return model


class Written(nn.Layer):
    """A transformer without class token, its attention written in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.embed = way, nn.Conv2D(3, 8, 4, 4)
        if way == "encoder":
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, normalize_before=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
        else:
            self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        if way == "layer":
            self.attend = nn.MultiHeadAttention(8, 2)
        self.head = nn.Linear(8, 5)

    def mixed(self, q: Any, k: Any, v: Any) -> Any:
        """From [N, T, heads, width] to the same."""
        if self.way == "sdpa":
            return F.scaled_dot_product_attention(q, k, v)
        q, k, v = (t.transpose([0, 2, 1, 3]) for t in (q, k, v))
        if self.way == "matmul":
            weights = F.softmax(paddle.matmul(q, k, transpose_y=True) / 2, axis=-1)
            return paddle.matmul(weights, v).transpose([0, 2, 1, 3])
        weights = nn.Softmax(axis=3)(q @ k.transpose([0, 1, 3, 2]) / 2)
        return (weights @ v).transpose([0, 2, 1, 3])

    def forward(self, x: Any) -> Any:
        x = self.embed(x).flatten(2).transpose([0, 2, 1])
        if self.way == "encoder":
            return self.head(self.encoder(x).mean(axis=1))
        if self.way == "layer":
            return self.head((x + self.attend(x, x, x)).mean(axis=1))
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape([n, t, 3, 2, 4]).transpose([2, 0, 1, 3, 4])
        return self.head((x + self.out(self.mixed(q, k, v).reshape([n, t, 8]))).mean(axis=1))


def images(n: int = 2, side: int = 16) -> Array:
    return np.random.default_rng(3).normal(size=(n, 3, side, side)).astype(np.float32)


# -- what the probe meets --------------------------------------------------------------------------


def test_attention_is_what_hooks_on_the_layer_after_the_softmax_see() -> None:
    model = filled(VisionTransformer())
    probe, x = it.Probe(model), images(side=32)
    target = it.ClassScore([1, 2])
    names = [f"blocks.{i}.attn.attn_drop" for i in range(2)]
    hooked = probe.gradients(x, target, at=names)
    found = probe.attention(x, target)
    assert found.size == (4, 4)
    np.testing.assert_array_equal(found.outputs, hooked.outputs)
    np.testing.assert_array_equal(found.scores, hooked.scores)
    for i, name in enumerate(names):
        np.testing.assert_array_equal(found.maps[i], hooked.activations[name])
        np.testing.assert_allclose(found.gradients[i], hooked.gradients[name], rtol=1e-5, atol=1e-8)
    forward = probe.attention(x)
    assert forward.gradients == []
    np.testing.assert_array_equal(forward.maps, found.maps)


@pytest.mark.parametrize("way", ["matmul", "operator", "sdpa", "layer", "encoder"])
def test_attention_is_met_however_it_is_written(way: str) -> None:
    model = filled(Written(way))
    found = it.Probe(model).attention(images(), it.ClassScore(1))
    assert len(found.maps) == (2 if way == "encoder" else 1)
    for attention, gradient in zip(found.maps, found.gradients, strict=True):
        assert attention.shape == gradient.shape == (2, 2, 16, 16)
        np.testing.assert_allclose(attention.sum(axis=-1), 1, rtol=1e-5)
        assert np.abs(gradient).max() > 0
    e = it.GACVInterpreter(model).explain(images(), label=1)
    assert e.values.shape == (2, 4, 4)


def test_one_way_of_writing_is_another() -> None:
    ways = [filled(Written(way)) for way in ("matmul", "operator", "sdpa")]
    first, *others = (it.Probe(model).attention(images(), it.ClassScore(1)) for model in ways)
    for other in others:
        np.testing.assert_allclose(other.maps, first.maps, rtol=1e-5)
        np.testing.assert_allclose(other.gradients, first.gradients, rtol=1e-4, atol=1e-7)


def test_the_gradient_is_that_of_finite_differences() -> None:
    model = filled(VisionTransformer())
    model.to(dtype="float64")
    probe, x = it.Probe(model), images(1, 32).astype(np.float64)
    target = it.ClassScore(3)
    gradient = probe.attention(x, target).gradients[0]
    rng = np.random.default_rng(0)
    for _ in range(6):
        place = (0, *(int(rng.integers(n)) for n in gradient.shape[1:]))
        scores = []
        for step in (1e-5, -1e-5):
            move = np.zeros(gradient.shape)
            move[place] = step
            shift = paddle.to_tensor(move)
            edit = {"blocks.0.attn.attn_drop": lambda a, shift=shift: a + shift}
            scores.append(probe.scores(x, target, edit=edit)[0])
        assert (scores[0] - scores[1]) / 2e-5 == pytest.approx(gradient[place], rel=1e-4, abs=1e-9)


def test_batches_do_not_matter() -> None:
    model, x = small_transformer(), images(5)
    target = it.ClassScore([0, 1, 2, 3, 4])
    one, five = (it.Probe(model, batch_size=k).attention(x, target) for k in (1, 5))
    for name in ("maps", "gradients"):
        np.testing.assert_allclose(getattr(one, name), getattr(five, name), rtol=1e-4, atol=1e-7)


# -- by hand ---------------------------------------------------------------------------------------


def numbers(layers: int = 3, tokens: int = 5, n: int = 2) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(1)
    maps, gradients = [], []
    for _ in range(layers):
        raw = np.exp(rng.normal(size=(n, 2, tokens, tokens)))
        maps.append(raw / raw.sum(axis=-1, keepdims=True))
        gradients.append(rng.normal(size=raw.shape))
    return maps, gradients


def test_rollout_by_hand() -> None:
    maps, _ = numbers()
    found = rollout(maps)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-12)
    for n in range(2):
        expected = np.eye(5)
        for attention in maps:
            mixed = (attention[n, 0] + attention[n, 1]) / 2 + np.eye(5)
            for row in mixed:
                row /= row.sum()
            expected = mixed @ expected
        np.testing.assert_allclose(found[n], expected, rtol=1e-12)


def test_generic_attention_by_hand() -> None:
    maps, gradients = numbers()
    found = generic_attention(maps, gradients)
    for n in range(2):
        expected = np.eye(5)
        for attention, gradient in zip(maps, gradients, strict=True):
            mean = sum(np.maximum(attention[n, h] * gradient[n, h], 0) for h in range(2)) / 2
            expected = expected + mean @ expected
        np.testing.assert_allclose(found[n], expected, rtol=1e-12)
    still = generic_attention(maps, [0 * gradient for gradient in gradients])
    np.testing.assert_array_equal(still, [np.eye(5)] * 2)


def test_the_chain_by_hand() -> None:
    maps, _ = numbers()
    for size, first in (((2, 2), True), ((1, 5), False)):
        found = state_of_class(Attention(np.empty(0), np.empty(0), maps, [], size))
        for n in range(2):
            top = maps[-1][n].mean(axis=0)
            state = top[0] if first else top.mean(axis=0)
            for attention in reversed(maps[:-1]):
                moved = np.zeros(5)
                for t in range(5):
                    for s in range(5):
                        moved[s] += state[t] * attention[n, :, t, s].mean()
                state = state + moved
            np.testing.assert_allclose(found[n], state, rtol=1e-12)


def test_heads_and_tokens_by_hand() -> None:
    maps, gradients = numbers()
    lengths = [np.random.default_rng(i).random((2, 5)) for i in range(3)]
    heads, tokens = head_attention(maps, gradients), token_attention(maps, lengths)
    for n in range(2):
        by_heads, by_tokens = np.eye(5), np.eye(5)
        for a, g, size in zip(maps, gradients, lengths, strict=True):
            weight = [np.abs(a[n, h].T @ g[n, h]).mean() for h in range(2)]
            mixed = sum(weight[h] / sum(weight) * a[n, h] for h in range(2))
            by_heads = by_heads + mixed @ by_heads
            by_tokens = by_tokens + a[n].mean(axis=0) @ np.diag(size[n]) @ by_tokens
        np.testing.assert_allclose(heads[n], by_heads, rtol=1e-12)
        np.testing.assert_allclose(tokens[n], by_tokens, rtol=1e-12)
    still = head_attention(maps, [0 * gradient for gradient in gradients])
    np.testing.assert_array_equal(still, [np.eye(5)] * 2)


# -- the methods -----------------------------------------------------------------------------------


def at(probe: it.Probe, x: Array, label: int, of: Any) -> tuple[list[Array], list[Array]]:
    """Attention and gradients by hooks, of one image."""
    names = [f"blocks.{i}.attn.attn_drop" for i in range(2)]
    run = probe.gradients(x, it.ClassScore(label, of), at=names)
    return [run.activations[k] for k in names], [run.gradients[k] for k in names]


@every
def test_the_methods_from_hooks(name: str) -> None:
    model = filled(VisionTransformer(), size=0.3)
    probe, x = it.Probe(model), images(side=32)
    method = METHODS[name](model)
    found = method.explain(x, label=[1, 2])
    assert found.values.shape == (2, 4, 4)
    for i, label in enumerate((1, 2)):
        one = x[i : i + 1]
        maps, gradients = at(probe, one, label, method.gradient_of)
        if name == "rollout":
            row = rollout(maps)[0, 0]
        elif name == "generic_attention":
            row = generic_attention(maps, gradients)[0, 0]
        elif name == "attention_gradient":
            row = np.maximum(maps[1] * gradients[1], 0)[0].mean(axis=0)[0]
        else:
            path = [
                at(probe, one * np.float32((k + 0.5) / 20), label, "probability")[1][1]
                for k in range(20)
            ]
            weight = np.maximum(np.mean(path, axis=0), 0)[0].mean(axis=0)[0]
            if name == "transition_attention":
                row = weight * (maps[1][0].mean(0)[0] @ maps[0][0].mean(0) + maps[1][0].mean(0)[0])
            else:
                row = weight * head_attention(maps, gradients)[0, 0]
        expected = row[1:].reshape(4, 4)
        np.testing.assert_allclose(found.values[i], expected, rtol=2e-3, atol=1e-7)


def test_tokens_weighted_by_their_lengths() -> None:
    model = filled(VisionTransformer(), size=0.3)
    probe, x = it.Probe(model), images(1, 32)
    method = it.BTCVInterpreter(model)
    found = method.explain(x, label=1, ap_mode="token").values[0]
    weights = it.TAMInterpreter(model).explain(x, label=1).values[0] / state_of_class(
        probe.attention(x, it.ClassScore(1, "probability"))
    )[0, 1:].reshape(4, 4)
    maps, lengths = at(probe, x, 1, "probability")[0], []
    for i in range(2):
        block = f"blocks.{i}"
        run = probe.activations(x, [f"{block}.norm1:input", f"{block}.attn.qkv"])
        z, v = run[f"{block}.norm1:input"][0], run[f"{block}.attn.qkv"][0, :, 24:]
        weight = dict(model.named_sublayers())[f"{block}.attn.proj"].weight.numpy()
        lengths.append([np.linalg.norm(v[t] @ weight) / np.linalg.norm(z[t]) for t in range(17)])
    matrix = token_attention(maps, [np.array([length]) for length in lengths])
    expected = matrix[0, 0, 1:].reshape(4, 4) * weights
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-9)
    with pytest.raises(UnsupportedModelError, match="one for each"):
        method.explain(x, label=1, ap_mode="token", attn_proj_name=".*attn")
    with pytest.raises(LayerNotFoundError):
        method.explain(x, label=1, ap_mode="token", attn_proj_name="nothing")


@every
def test_a_pattern_gives_what_the_softmax_gives(name: str) -> None:
    if name == "attention_gradient":
        return
    model, x = filled(VisionTransformer(), size=0.3), images(side=32)
    option = "attention_layer_pattern" if name == "rollout" else "attn_map_name"
    found = METHODS[name](model).explain(x, label=1, **{option: "^blocks.*.attn.attn_drop$"})
    expected = METHODS[name](model).explain(x, label=1)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-8)
    with pytest.raises(LayerNotFoundError):
        METHODS[name](model).explain(x, label=1, **{option: "no_such_layer"})


def test_the_start_layer() -> None:
    model, x = small_transformer(), pictures(small_transformer().preprocessing)
    found = it.RolloutInterpreter(model).explain(x, start_layer=1)
    last = it.Probe(model).attention(x).maps[1]
    mixed = (last.mean(axis=1) + np.eye(17)) / 2
    np.testing.assert_allclose(found.values, mixed[:, 0, 1:].reshape(3, 4, 4), rtol=1e-5)
    for start, method in ((2, it.RolloutInterpreter), (-1, it.TAMInterpreter)):
        with pytest.raises(InputError, match="from 0 to 1"):
            method(model).explain(x, start_layer=start)
    with pytest.raises(InputError, match="layer_index"):
        it.AttentionGradientInterpreter(model).explain(x, layer_index=2)


def test_without_a_class_token_every_token_counts() -> None:
    model = filled(Written("operator"))
    found = it.RolloutInterpreter(model).explain(images())
    attention = it.Probe(model).attention(images()).maps[0].mean(axis=1)
    expected = ((attention + np.eye(16)) / 2).mean(axis=1)
    np.testing.assert_allclose(found.values.reshape(2, 16), expected, rtol=1e-5)


@every
def test_models_that_do_not_attend_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedModelError, match="does not attend"):
        METHODS[name](it.lrp_model.resnet18()).explain(images(1, 32))
    with pytest.raises(UnsupportedModelError, match="within windows"):
        METHODS[name](filled(SwinTransformer())).explain(images(1, 32))


def test_the_grid_of_patches() -> None:
    relevance = np.arange(17.0)[None]
    assert patches(relevance, None).tolist() == np.arange(1, 17).reshape(1, 4, 4).tolist()
    assert patches(relevance, (2, 8)).shape == (1, 2, 8)
    assert patches(relevance[:, 1:], None).shape == (1, 4, 4)
    with pytest.raises(UnsupportedModelError, match="18 tokens"):
        patches(np.zeros((1, 18)), None)
    matrix = np.arange(50.0).reshape(2, 5, 5)

    def row(size: tuple[int, int], gradient: Array | None = None) -> Array:
        gradients = [] if gradient is None else [gradient]
        return row_of_class(matrix, Attention(np.empty(0), np.empty(0), [], gradients, size))

    np.testing.assert_array_equal(row((2, 2)), matrix[:, 0])
    np.testing.assert_array_equal(row((1, 5)), matrix.mean(axis=1))
    read = np.zeros((2, 3, 5, 5))
    np.testing.assert_array_equal(row((2, 2), read), matrix[:, 1:].mean(axis=1))
    read[0, 1, 0, 2] = 1
    np.testing.assert_array_equal(row((2, 2), read), matrix[:, 0])


class Averaged(VisionTransformer):
    """Has a class token, and reads the patches' mean, as fine-tuned MAEs do."""

    def forward(self, x: Any) -> Any:
        return self.head(self.forward_features(x)[:, 1:].mean(axis=1))


@every
def test_where_the_patches_are_averaged_their_rows_count(name: str) -> None:
    model = filled(Averaged(), size=0.3)
    values = METHODS[name](model).explain(images(1, 32), label=1).values
    assert values.max() > 0
    if name == "rollout":
        attention = it.Probe(model).attention(images(1, 32)).maps
        expected = rollout(attention)[0, 1:, 1:].mean(axis=0).reshape(4, 4)
        np.testing.assert_allclose(values[0], expected, rtol=1e-4)


class ByHand(nn.Layer):
    """A softmax that is written out, so that only a layer behind it shows the attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Conv2D(3, 8, 4, 4), nn.Linear(8, 24)
        self.shown, self.head = nn.Identity(), nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.embed(x).flatten(2).transpose([0, 2, 1])
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape([n, t, 3, 2, 4]).transpose([2, 0, 3, 1, 4])
        weights = paddle.exp(q @ k.transpose([0, 1, 3, 2]))
        weights = self.shown(weights / weights.sum(axis=-1, keepdim=True))
        mixed = (weights @ v).transpose([0, 2, 1, 3]).reshape([n, t, 8])
        return self.head((x + mixed).mean(axis=1))


def test_a_pattern_reaches_a_softmax_that_is_written_out() -> None:
    model = filled(ByHand(), size=0.3)
    with pytest.raises(UnsupportedModelError, match="does not attend"):
        it.RolloutInterpreter(model).explain(images())
    found = it.RolloutInterpreter(model).explain(images(), attention_layer_pattern="shown")
    attention = it.Probe(model).activations(images(), "shown")["shown"].mean(axis=1)
    expected = ((attention + np.eye(16)) / 2).mean(axis=1)
    np.testing.assert_allclose(found.values.reshape(2, 16), expected, rtol=1e-5)
