"""Generic attention of a picture and a text, on a small CLIP, against plain loops."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from numpy.typing import NDArray
from paddle import nn
from PIL import Image

import interpretdl as it
from interpretdl.errors import InputError, LayerNotFoundError, UnsupportedModelError
from tests.oracles.test_attention import filled

Array = NDArray[Any]
IDS = np.array([[1, 5, 3, 7, 9, 2]])
LAYERS = {"visual": 2, "words": 3}


class Attention(nn.Layer):
    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.qkv, self.proj, self.attn_map = nn.Linear(8, 24), nn.Linear(8, 8), nn.Identity()
        self.packed = packed

    def forward(self, x: Any, mask: Any = None) -> Any:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape([n, t, 3, 2, 4]).transpose([2, 0, 3, 1, 4])
        scores = q @ k.transpose([0, 1, 3, 2])
        weights = F.softmax(scores if mask is None else scores + mask, axis=-1)
        shown = self.attn_map(weights.reshape([n * 2, t, t]) if self.packed else weights)
        mixed = shown.reshape([n, 2, t, t]) @ v
        return self.proj(mixed.transpose([0, 2, 1, 3]).reshape([n, t, 8]))


class Tower(nn.Layer):
    def __init__(self, depth: int, packed: bool) -> None:
        super().__init__()
        self.blocks = nn.LayerList([Attention(packed) for _ in range(depth)])
        self.norms = nn.LayerList([nn.LayerNorm(8) for _ in range(depth)])

    def forward(self, x: Any, mask: Any = None) -> Any:
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = x + block(norm(x), mask)
        return x


class Clip(nn.Layer):
    """Scores of pictures [n, 3, 16, 16] and texts [n, T], each read from one token."""

    def __init__(self, text_first: bool = False, packed: bool = False) -> None:
        super().__init__()
        self.embed, self.token = nn.Conv2D(3, 8, 4, 4), nn.Embedding(10, 8)
        self.first = self.create_parameter([1, 1, 8])
        self.visual, self.words = Tower(2, packed), Tower(3, packed)
        self.text_first = text_first

    def picture(self, x: Any) -> Any:
        x = self.embed(x).flatten(2).transpose([0, 2, 1])
        x = paddle.concat([self.first.expand([x.shape[0], 1, 8]), x], axis=1)
        return F.normalize(self.visual(x)[:, 0])

    def text(self, ids: Any) -> Any:
        t = ids.shape[1]
        mask = paddle.triu(paddle.full([t, t], -1e9), diagonal=1)
        return F.normalize(self.words(self.token(ids), mask)[:, -1])

    def forward(self, image: Any, ids: Any) -> Any:
        if self.text_first:
            words = self.text(ids)
            scores = 10 * self.picture(image) @ words.T
        else:
            scores = 10 * self.picture(image) @ self.text(ids).T
        return scores, scores.T


def picture() -> Array:
    return np.random.default_rng(3).normal(size=(1, 3, 16, 16)).astype(np.float32)


def by_hand(model: Any, tower: str, start: int) -> Array:
    """R of one tower from hooks on its layers, head by head."""
    names = [f"{tower}.blocks.{i}.attn_map" for i in range(LAYERS[tower])]
    probe = it.Probe(model, output=0, output_kind="logits")
    run = probe.gradients((picture(), IDS), it.ClassScore(0), at=names)
    tokens = 17 if tower == "visual" else 6
    found = np.eye(tokens)
    for name in names[start:]:
        maps = run.activations[name].reshape(2, tokens, tokens)
        gradients = run.gradients[name].reshape(2, tokens, tokens)
        mean = sum(np.maximum(a * g, 0) for a, g in zip(maps, gradients, strict=True)) / 2
        found = found + mean @ found
    return found


@pytest.mark.parametrize("text_first", [False, True])
@pytest.mark.parametrize(("start", "start_text"), [(None, None), (0, 0), (1, 2), (0, 1)])
def test_by_hand(text_first: bool, start: int | None, start_text: int | None) -> None:
    model = filled(Clip(text_first))
    found = it.GAInterpreter(model).interpret(
        picture(), "a cat", IDS, start_layer=start, start_layer_text=start_text, visual=False
    )
    of_text, of_picture = found
    assert of_text.shape == (1, 6, 6)
    assert of_picture.shape == (4, 4)
    assert of_text.dtype == of_picture.dtype == np.float32
    expected = by_hand(model, "words", 2 if start_text is None else start_text)
    np.testing.assert_allclose(of_text[0], expected, rtol=1e-4, atol=1e-7)
    expected = by_hand(model, "visual", 1 if start is None else start)[0, 1:].reshape(4, 4)
    np.testing.assert_allclose(of_picture, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("packed", [False, True])
def test_patterns_give_what_the_softmax_gives(packed: bool) -> None:
    """Also where a layer gives [N · heads, T, T], as CLIP's."""
    model = filled(Clip(packed=packed))
    method = it.GAInterpreter(model, "cpu")
    patterns = "^visual.blocks.[0-9]*.attn_map$", "^words.blocks.[0-9]*.attn_map$"
    named = method.interpret(picture(), ["a cat"], IDS, *patterns, 0, 0, visual=False)
    met = method.interpret(picture(), "a cat", IDS, None, None, 0, 0, visual=False)
    for one, other in zip(named, met, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
    with pytest.raises(LayerNotFoundError):
        method.interpret(picture(), "a cat", IDS, "nothing", patterns[1], visual=False)
    with pytest.raises(InputError, match="both patterns"):
        method.interpret(picture(), "a cat", IDS, patterns[0], visual=False)


def test_without_a_gradient_it_is_the_identity() -> None:
    class Constant(Clip):
        def forward(self, image: Any, ids: Any) -> Any:
            scores, _ = super().forward(image, ids)
            return scores * 0, scores.T * 0

    found = it.GAInterpreter(filled(Constant())).interpret(
        picture(), "a cat", IDS, start_layer=0, start_layer_text=0, visual=False
    )
    np.testing.assert_array_equal(found[0], np.eye(6)[None])
    assert np.ptp(found[1]) == 0


def test_the_call_is_interpretdls_and_the_picture_is_saved(tmp_path: Path) -> None:
    names = list(inspect.signature(it.GAInterpreter.interpret).parameters)[1:]
    assert names == [
        *("image_input", "text", "text_tokenized", "vis_attn_layer_pattern"),
        *("txt_attn_layer_pattern", "start_layer", "start_layer_text", "resize_to", "crop_to"),
        *("visual", "save_path"),
    ]
    shown = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 16, 3), np.uint8))
    shown.save(tmp_path / "one.png")
    model = filled(Clip())
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    found = it.GAInterpreter(model).interpret(
        str(tmp_path / "one.png"), "a cat", paddle.to_tensor(IDS), resize_to=16, crop_to=16,
        visual=False, save_path=str(tmp_path / "map.png"),
    )  # fmt: skip
    assert found[1].shape == (4, 4)
    assert np.asarray(Image.open(tmp_path / "map.png")).std() > 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_what_cannot_be_is_told() -> None:
    method = it.GAInterpreter(filled(Clip()))
    for ids in (IDS.repeat(2, axis=0), IDS.astype(float), np.zeros((1, 2, 3), int)):
        with pytest.raises(InputError, match="one text"):
            method.interpret(picture(), "a cat", ids, visual=False)
    with pytest.raises(InputError, match="one picture"):
        method.interpret(picture().repeat(2, axis=0), "a cat", IDS, visual=False)
    with pytest.raises(InputError, match="from 0 to 1"):
        method.interpret(picture(), "a cat", IDS, start_layer=11, visual=False)

    class TextAlone(Clip):
        def picture(self, x: Any) -> Any:
            return F.normalize(self.embed(x).mean(axis=[2, 3]))

    with pytest.raises(UnsupportedModelError, match="over the text alone"):
        it.GAInterpreter(filled(TextAlone())).interpret(picture(), "a", IDS, visual=False)

    class Crossing(Clip):
        def forward(self, image: Any, ids: Any) -> Any:
            x = self.visual(self.embed(image).flatten(2).transpose([0, 2, 1]))
            y = self.words(paddle.concat([x, self.token(ids)], axis=1))
            return y.mean(axis=[1, 2]).reshape([-1, 1]), None

    with pytest.raises(UnsupportedModelError, match="not over the text"):
        it.GAInterpreter(filled(Crossing())).interpret(picture(), "a", IDS, visual=False)
