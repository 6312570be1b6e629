"""The zoo's vision transformers against slow NumPy, PaddleClas's definition and random deletion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from scipy.special import erf

import interpretdl as it
from interpretdl.lrp_model import load_weights, models
from interpretdl.lrp_model.download import weights_table
from interpretdl.lrp_model.vision_transformer import VisionTransformer
from tests.digits import digits_vit  # noqa: F401 - a fixture
from tests.oracles import attention_lrp_numpy as by_hand
from tests.oracles.rules_numpy import relative

Array = NDArray[Any]

# Read off PaddleClas's vision_transformer.py and distilled_vision_transformer.py: width, blocks,
# heads, hidden units, bias of queries, keys and values, scale, epsilon.
CLAS = {
    "ViT_small_patch16_224": (768, 8, 8, 3 * 768, False, 768**-0.5, 1e-5),
    "ViT_base_patch16_224": (768, 12, 12, 4 * 768, True, 64**-0.5, 1e-6),
    "DeiT_tiny_patch16_224": (192, 12, 3, 4 * 192, True, 64**-0.5, 1e-6),
    "DeiT_small_patch16_224": (384, 12, 6, 4 * 384, True, 64**-0.5, 1e-6),
    "DeiT_base_patch16_224": (768, 12, 12, 4 * 768, True, 64**-0.5, 1e-6),
}
# Millions of parameters in PaddleClas's table, which leaves out positions and class token.
MILLIONS = dict(zip(CLAS, (48.60, 86.42, 5.68, 21.97, 86.42), strict=True))
TINY = {"size": 16, "patch": 4, "width": 8, "depth": 2, "heads": 2, "mlp_ratio": 2}


def shapes(width: int, blocks: int, hidden: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """The state dict of PaddleClas's network for 224 pixels, patches of 16 and 1000 classes."""

    def dense(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, Any]:
        return {f"{name}.weight": (inputs, outputs)} | (
            {f"{name}.bias": (outputs,)} if bias else {}
        )

    def norm(name: str) -> dict[str, Any]:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    table: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, 14 * 14 + 1, width),
        "cls_token": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        **norm("norm"),
        **dense("head", width, 1000),
    }
    for i in range(blocks):
        table |= norm(f"blocks.{i}.norm1") | norm(f"blocks.{i}.norm2")
        table |= dense(f"blocks.{i}.attn.qkv", width, 3 * width, bias)
        table |= dense(f"blocks.{i}.attn.proj", width, width)
        table |= dense(f"blocks.{i}.mlp.fc1", width, hidden)
        table |= dense(f"blocks.{i}.mlp.fc2", hidden, width)
    return table


def logits(
    state: Mapping[str, Array], image: Array, heads: int, scale: float, epsilon: float
) -> Array:
    """A vision transformer on one picture [C, H, W], as its paper has it, in float64."""
    p = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def dense(x: Array, name: str) -> Array:
        return np.asarray(x @ p[f"{name}.weight"] + p.get(f"{name}.bias", 0))

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        std = np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
        return np.asarray(centred / std * p[f"{name}.weight"] + p[f"{name}.bias"])

    kernel = p["patch_embed.proj.weight"]
    width, patch = kernel.shape[0], kernel.shape[-1]
    tokens = [p["cls_token"][0, 0]]
    for top in range(0, image.shape[1], patch):
        for left in range(0, image.shape[2], patch):
            piece = image[:, top : top + patch, left : left + patch]
            tokens.append(kernel.reshape(width, -1) @ piece.ravel() + p["patch_embed.proj.bias"])
    x = np.stack(tokens) + p["pos_embed"][0]
    depth = width // heads
    for i in range(sum(name.endswith("norm1.weight") for name in p)):
        block = f"blocks.{i}"
        z = dense(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        heard = np.zeros_like(x)
        for h in range(heads):
            q, k, v = (z[:, part * width + h * depth :][:, :depth] for part in range(3))
            e = np.exp(q @ k.T * scale)
            heard[:, h * depth : (h + 1) * depth] = e / e.sum(axis=1, keepdims=True) @ v
        x = x + dense(heard, f"{block}.attn.proj")
        u = dense(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        x = x + dense(u * (1 + erf(u / np.sqrt(2))) / 2, f"{block}.mlp.fc2")
    return np.asarray(dense(norm(x, "norm")[0], "head"))


def run(model: Any, x: Array) -> Array:
    with paddle.no_grad():
        return np.asarray(model(paddle.to_tensor(x)).numpy())


@pytest.fixture(scope="module")
def tiny() -> VisionTransformer:
    paddle.seed(0)
    model = VisionTransformer(5, 3, **TINY)
    for parameter in model.parameters():  # relevance of biases and of small tokens is seen too
        noise = np.random.default_rng(parameter.size).normal(0, 0.3, parameter.shape)
        parameter.set_value(parameter + paddle.to_tensor(noise.astype("float32")))
    model.eval()
    return model


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype("float32")


# ---- the networks ----


@pytest.mark.parametrize("name", CLAS)
def test_state_dict_is_that_of_paddleclas(name: str) -> None:
    width, blocks, heads, hidden, bias, scale, epsilon = CLAS[name]
    with paddle.LazyGuard():  # names and shapes only: no time for random numbers
        model = models()[name.lower()]()
    found = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert found == shapes(width, blocks, hidden, bias)
    left_out = ("pos_embed", "cls_token")
    counted = sum(np.prod(shape) for key, shape in found.items() if key not in left_out)
    assert counted / 1e6 == pytest.approx(MILLIONS[name], abs=0.005)
    for block in model.blocks:
        assert (block.attn.heads, block.attn.scale) == (heads, pytest.approx(scale))
        assert block.norm1._epsilon == block.norm2._epsilon == model.norm._epsilon == epsilon


def test_forward_is_the_papers() -> None:
    sizes = {"size": 16, "patch": 4, "width": 12, "depth": 2, "heads": 3, "mlp_ratio": 2}
    numbers = {"heads": 3, "scale": 0.7, "epsilon": 1e-3}
    rng = np.random.default_rng(0)
    image = rng.normal(size=(3, 16, 16)).astype("float32")
    for bias in (False, True):
        model = VisionTransformer(5, 3, **sizes, qkv_bias=bias, qk_scale=0.7, epsilon=1e-3)
        for name, parameter in model.named_parameters():
            size = 0.02 if name.split(".")[0] in ("pos_embed", "cls_token", "patch_embed") else 0.5
            parameter.set_value(rng.normal(0, size, parameter.shape).astype("float32"))
        model.eval()
        state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        expected = logits(state, image, **numbers)
        largest = abs(expected).max()
        found = run(model, image[None])[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * largest)
        for other in ({"heads": 2}, {"scale": 0.6}, {"epsilon": 1.1e-3}):  # each number matters
            wrong = logits(state, image, **{**numbers, **other})
            assert abs(wrong - expected).max() > 1e-3 * largest, other


def test_preprocessing_is_that_of_paddleclas() -> None:
    with paddle.LazyGuard():
        vit, deit = models()["vit_small_patch16_224"](), models()["deit_tiny_patch16_224"]()
    half = (0.5, 0.5, 0.5)
    assert vit.preprocessing == it.Preprocessing(256, 224, "bilinear", half, half)
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert deit.preprocessing == it.Preprocessing(256, 224, "bicubic", *imagenet)


def test_addresses_are_those_of_paddleclas() -> None:
    folder = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/"
    for name in CLAS:
        assert weights_table()[name.lower()] == (f"{folder}{name}_pretrained.pdparams", None)


@pytest.mark.parametrize("kind", ["pdparams", "safetensors", "of torch"])
def test_weights_from_a_file(tiny: Any, x: Array, tmp_path: Path, kind: str) -> None:
    from safetensors.numpy import save_file

    state = {name: tensor.numpy() for name, tensor in tiny.state_dict().items()}
    path = tmp_path / f"weights.{'pdparams' if kind == 'pdparams' else 'safetensors'}"
    if kind == "pdparams":
        paddle.save(tiny.state_dict(), str(path))
    elif kind == "safetensors":
        save_file(state, path)
    else:
        linear = {name for name, value in state.items() if value.ndim == 2}
        turned = {n: np.ascontiguousarray(v.T) if n in linear else v for n, v in state.items()}
        save_file(turned, path, {"format": "pt"})
    other = VisionTransformer(5, 3, **TINY)
    other.eval()
    load_weights(other, path)
    np.testing.assert_array_equal(run(other, x), run(tiny, x))


def test_every_layer_runs_once_and_is_all_there_is(tiny: Any, x: Array) -> None:
    runs: Counter[str] = Counter()
    hooks = [
        layer.register_forward_post_hook(lambda *_, key=key: runs.update([key]))
        for key, layer in tiny.named_sublayers()
    ]
    y = tiny(paddle.to_tensor(x))
    for hook in hooks:
        hook.remove()
    assert runs == dict.fromkeys((key for key, _ in tiny.named_sublayers()), 1)
    seen, todo, operations = set(), [y.grad_fn], Counter()
    while todo:
        node = todo.pop()
        if node is not None and node.node_ptr() not in seen:
            seen.add(node.node_ptr())
            operations[node.name().removesuffix("GradNode").lower()] += 1
            todo += node.next_functions
    kinds = Counter(type(layer).__name__.lower() for layer in tiny.sublayers())
    for operation, layer in {"softmax": "softmax", "gelu": "gelu", "concat": "classtoken"}.items():
        assert operations[operation] == kinds[layer], operations
    assert operations["matmul"] + operations["linear"] == kinds["product"] + kinds["linear"]
    assert "multiply" not in operations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 5}, "patch must divide size; got 5 and 16"),
        ({"heads": 3}, "heads must divide width; got 3 and 8"),
        ({"depth": 0}, "depth"),
        ({"size": 16.0}, "size"),
    ],
)
def test_sizes_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(it.InputError, match=message):
        VisionTransformer(5, 3, **{**TINY, **options})


def test_other_pictures_are_refused(tiny: Any) -> None:
    with pytest.raises(it.InputError, match=r"\['N', 3, 16, 16\].*got \[1, 3, 16, 20\]"):
        tiny(paddle.zeros([1, 3, 16, 20]))


# ---- explained ----


@pytest.mark.parametrize("composite", ["attn_lrp", "cp_lrp"])
def test_relevance_equals_explicit_messages(tiny: Any, x: Array, composite: str) -> None:
    state = {}
    for name, tensor in tiny.state_dict().items():
        value = tensor.numpy().astype("float64")
        if "qkv" in name:  # the other's softmax has no scale
            value[..., :8] *= 4**-0.5
        for ours, theirs in ((".proj.", "."), (".fc1", ".0"), (".fc2", ".2")):
            if "attn" not in name:
                name = name.replace(ours, theirs)
        state[name] = value
    found = it.LRPInterpreter(tiny).explain(x, 3, composite=composite)
    for value, score, image in zip(found.values, found.scores, x, strict=True):
        expected = by_hand.small_transformer(
            state, image.astype("float64"), 3, composite == "cp_lrp"
        )
        assert score == pytest.approx(expected[0], rel=1e-4)
        assert relative(value[0], expected[1].sum(0)) < 2e-3  # ours is float32, with epsilon 1e-6


@pytest.mark.parametrize("composite", ["attn_lrp", "cp_lrp", "attn_lrp_gamma"])
def test_account_adds_up(tiny: Any, x: Array, composite: str) -> None:
    audit = it.LRPInterpreter(tiny).audit(x, 3, composite=composite)
    np.testing.assert_allclose(audit.input + audit.absorbed, audit.start, rtol=1e-4, atol=1e-5)
    known = {name for name, _ in tiny.named_sublayers()}
    assert {"head", "blocks.0.attn.qkv", "patch_embed.proj"} <= known & {
        s.name for s in audit.seams
    }


def test_relprop_is_attn_lrp(tiny: Any, x: Array) -> None:
    given = paddle.to_tensor(x)
    y = tiny(given)
    found = tiny.relprop(y * paddle.nn.functional.one_hot(paddle.to_tensor([3, 3]), 5))
    expected = it.LRPInterpreter(tiny).explain(x, 3, composite="attn_lrp").values
    assert found.shape == [2, 3, 16, 16]
    np.testing.assert_allclose(found.sum(1, keepdim=True).numpy(), expected, rtol=1e-3, atol=1e-6)
    with pytest.raises(it.InputError, match="AttnLRP, which has no alpha; got 2"):
        tiny.relprop(y, alpha=2)


def test_other_composites_name_the_one_for_transformers(tiny: Any, x: Array) -> None:
    with pytest.raises(it.UnsupportedModelError, match='composite="attn_lrp"'):
        it.LRPInterpreter(tiny).explain(x, 3)


ATTENTION: dict[str, Callable[..., Any]] = {
    "rollout": it.RolloutInterpreter,
    "generic_attention": it.GACVInterpreter,
    "attention_gradient": it.AttentionGradientInterpreter,
    "transition_attention": it.TAMInterpreter,
    "bidirectional_transformer": it.BTCVInterpreter,
}
ALONG_A_PATH = ("transition_attention", "bidirectional_transformer")


@pytest.mark.parametrize("method", ATTENTION)
def test_attention_of_a_published_size(method: str) -> None:
    paddle.seed(0)
    model = models()["deit_tiny_patch16_224"](num_classes=4)
    model.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    options = {"steps": 1} if method in ALONG_A_PATH else {}
    picture = model.preprocessing.normalize(pixels)
    found = ATTENTION[method](model).explain(picture, label=1, **options)
    assert found.values.shape == (1, 14, 14)
    assert np.isfinite(found.values).all()
    assert found.values.std() > 0
    if method in ("rollout", "generic_attention"):  # by the names that InterpretDL asks for
        argument = "attention_layer_pattern" if method == "rollout" else "attn_map_name"
        named = ATTENTION[method](model).explain(
            picture, label=1, **{argument: "^blocks.*.attn.attn_drop$"}
        )
        np.testing.assert_allclose(named.values, found.values, rtol=1e-5)


# ---- trained ----

SHOWN, ORDERS = 100, 5


def per_patch(maps: Array) -> Array:
    """Maps of pixels or of the 4 × 4 patches, [N, 16]."""
    side = maps.shape[-1] // 4
    return maps.reshape(len(maps), 4, side, 4, side).sum(axis=(2, 4)).reshape(len(maps), 16)


def ink(x: Array) -> Array:
    """1 where a patch has ink, [N, 16]."""
    return (per_patch(x[:, 0]) > 0).astype("float64")


def deleted(model: Any, x: Array, labels: Array, rank: Array) -> Array:
    """Mean probability of the label while patches turn black, the first in rank first: [N]."""
    order, total = np.argsort(-rank, axis=1, kind="stable"), np.zeros(len(x))
    x, rows = x.copy(), np.arange(len(x))
    cells = x.reshape(len(x), 4, 4, 4, 4)
    for k in range(16):
        top, left = np.divmod(order[:, k], 4)
        cells[rows, top, :, left] = 0
        z = run(model, x).astype("float64")
        total += np.exp(z[rows, labels]) / np.exp(z).sum(axis=1)
    return total / 16


@pytest.fixture(scope="module")
def shown(digits_vit: Any) -> tuple[Any, Array, Array, dict[bool, Array]]:  # noqa: F811
    """Pictures, predicted digits, and the probability under deletion at random: of any patches,
    and of patches with ink before those without."""
    model, x, _ = digits_vit
    x = x[:SHOWN]
    labels, rng = run(model, x).argmax(axis=1), np.random.default_rng(0)
    ranks = rng.random((ORDERS, SHOWN, 16))
    chance = {
        first: np.mean([deleted(model, x, labels, rank + first * ink(x)) for rank in ranks], axis=0)
        for first in (False, True)
    }
    return model, x, labels, chance


def test_it_reads_digits(digits_vit: Any) -> None:  # noqa: F811
    model, x, y = digits_vit
    assert (run(model, x).argmax(axis=1) == y).mean() > 0.9


COMPOSITES = ("attn_lrp", "cp_lrp", "attn_lrp_gamma")


# Not the methods that weight patches by the gradient at the last layer's attention: tokens hold
# there what others have told them, and from one training to the next these are at chance or above.
@pytest.mark.parametrize("name", ["rollout", "generic_attention", *COMPOSITES])
def test_deletion_is_faster_than_at_random(shown: Any, name: str) -> None:
    model, x, labels, chance = shown
    if name in COMPOSITES:
        maps = it.LRPInterpreter(model).explain(x, labels, composite=name).values[:, 0]
    else:
        maps = ATTENTION[name](model).explain(x, label=labels, gradient_of="logit").values
    rank = per_patch(maps)
    # A gain in standard errors of its mean over the pictures: without an effect, 5 would be met
    # once in three million. Of four trainings the worst had 6.6, and 5.4 within the digit.
    gain = chance[False] - deleted(model, x, labels, rank)
    assert gain.mean() > 5 * gain.std(ddof=1) / SHOWN**0.5
    within = rank.argsort(axis=1).argsort(axis=1) / 16 + ink(x)
    gain = chance[True] - deleted(model, x, labels, within)
    assert gain.mean() > 3 * gain.std(ddof=1) / SHOWN**0.5
