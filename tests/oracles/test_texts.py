"""Methods on texts: held against the same computed by hand, and against what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.registry import methods
from interpretdl.testing.texts import WordTokenizer, small_text_transformer

VOCABULARY = ("a", "film", "one", "does", "not", "forget", "the", "of", "good", "bad", "is", "very")
TEXTS = [
    "A good film one does not forget.",
    "The film is bad",
    "very very bad film of the unknownword",
]
QUICK = {
    "evaluations": 40, "steps": 5, "n_samples": 3, "nsamples": 3, "num_features": 3,
    "composite": "attn_lrp",
}  # fmt: skip


def quick(name: str) -> dict[str, Any]:
    """Options that make a method quick."""
    return {k: v for k, v in QUICK.items() if k in methods()[name].options}


class BagOfWords(nn.Layer):
    """A score that is the sum of the words' weights, whatever their order; 0 for [PAD]."""

    def __init__(self, weights: NDArray[np.float64]) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(len(weights), 2)
        self.word_embeddings.weight.set_value(weights.astype("float32"))

    def forward(self, ids: Any, token_type_ids: Any = None) -> Any:
        return self.word_embeddings(ids).sum(axis=1)


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return WordTokenizer(VOCABULARY)


@pytest.fixture(scope="module")
def model(tokenizer: WordTokenizer) -> Any:
    return small_text_transformer(tokenizer.vocab_size, classes=3, seed=1)


@pytest.fixture(scope="module")
def bag(tokenizer: WordTokenizer) -> Any:
    weights = np.random.default_rng(0).normal(size=(tokenizer.vocab_size, 2))
    weights[tokenizer.pad_token_id] = 0
    return BagOfWords(weights)


def of(name: str, model: Any, tokenizer: Any, **options: Any) -> it.Interpreter:
    words = it.TextPreprocessing(tokenizer, **options)
    found: it.Interpreter = methods()[name].cls(model, preprocessing=words)
    return found


EXPLAINS_TEXTS = [
    name
    for name, info in methods().items()
    # these have no way through a transformer, which other tests hold
    if "text" in info.inputs and name not in ("deep_lift", "deep_taylor", "excitation_bp")
]


# -- what must not matter -------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPLAINS_TEXTS)
def test_other_texts_and_padding_do_not_matter(
    name: str, model: Any, tokenizer: WordTokenizer
) -> None:
    whole = of(name, model, tokenizer).explain(TEXTS, **quick(name))
    assert whole.values.shape[0] == 3
    assert np.abs(whole.values).max() > 0
    turned = of(name, model, tokenizer).explain(TEXTS[::-1], **quick(name))
    padded = of(name, model, WordTokenizer(VOCABULARY, pad_to=20)).explain(TEXTS, **quick(name))
    for i, words in enumerate(whole.word_values()):
        assert words == turned.word_values()[2 - i]
        found = padded.word_values()[i]
        assert [w for w, _ in found] == [w for w, _ in words]
        values, expected = ([v for _, v in each] for each in (found, words))
        scale = np.abs(whole[i].values).max()
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=2e-5 * max(scale, 1e-3))
    specials = padded.texts.units < 0  # type: ignore[union-attr]
    if methods()[name].cls.reads_ids:
        assert not padded.values[specials].any()
    else:
        ids = padded.values.reshape(3, 20, -1)[:, 15:]  # padding alone
        assert not ids.any()


@pytest.mark.parametrize("name", ["gradient", "lime", "integrated_gradients"])
def test_how_runs_are_cut_does_not_matter(name: str, model: Any, tokenizer: WordTokenizer) -> None:
    words = it.TextPreprocessing(tokenizer)
    cls = methods()[name].cls
    planned = cls(model, preprocessing=words).explain(TEXTS, **quick(name))
    single = cls(model, preprocessing=words, batch_size=1).explain(TEXTS, **quick(name))
    np.testing.assert_allclose(single.values, planned.values, rtol=1e-3, atol=1e-6)


def test_the_model_is_left_as_it_was(model: Any, tokenizer: WordTokenizer) -> None:
    from interpretdl.testing import differences, state_of

    before = state_of(model)
    for name in ("gradient", "lime", "generic_attention"):
        of(name, model, tokenizer).explain(TEXTS[:1], **quick(name))
    assert not differences(before, state_of(model))


# -- by hand --------------------------------------------------------------------------------------


def by_hand(model: Any, ids: NDArray[np.int64], vectors: Any, label: int) -> tuple[Any, Any]:
    """The label's logit and its gradient where the embedding gives these vectors [1, T, E]."""
    vectors = paddle.to_tensor(vectors)
    vectors.stop_gradient = False
    layer = model.embeddings.word_embeddings
    hook = layer.register_forward_post_hook(lambda *_: vectors.clone())
    model.eval()
    score = model(paddle.to_tensor(ids))[0, label]
    score.backward()  # of the weights too: Paddle's layer_norm is wrong without
    hook.remove()
    model.clear_gradients()
    return float(score), vectors.grad.numpy()


def test_gradients_are_at_the_embedding(model: Any, tokenizer: WordTokenizer) -> None:
    ids = np.array([tokenizer(text=TEXTS[0])["input_ids"]])
    vectors = model.embeddings.word_embeddings(paddle.to_tensor(ids)).numpy()
    score, gradient = by_hand(model, ids, vectors, 1)
    found = of("gradient", model, tokenizer).explain(TEXTS[0], label=1)
    assert found.scores[0] == pytest.approx(score, rel=1e-5)
    np.testing.assert_allclose(found.values, gradient, rtol=1e-4, atol=1e-6)
    times = of("gradient", model, tokenizer).explain(TEXTS[0], label=1, times_input=True)
    np.testing.assert_allclose(times.values, gradient * vectors, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("baseline", ["pad", "zero"])
def test_integrated_gradients_by_hand(baseline: Any, model: Any, tokenizer: WordTokenizer) -> None:
    ids = np.array([tokenizer(text=TEXTS[0])["input_ids"]])
    embedding = model.embeddings.word_embeddings
    end = embedding(paddle.to_tensor(ids)).numpy()
    begin = end.copy()
    pad = embedding.weight.numpy()[tokenizer.pad_token_id]
    begin[:, 1:-1] = pad if baseline == "pad" else 0  # [CLS] and [SEP] stay
    steps, total = 50, np.zeros_like(end)
    for t in (np.arange(steps) + 0.5) / steps:
        point = (begin + np.float32(t) * (end - begin)).astype("float32")
        total += by_hand(model, ids, point, 2)[1] / steps
    expected = (end - begin) * total
    ig = of("integrated_gradients", model, tokenizer, baseline=baseline)
    found = ig.explain(TEXTS[0], label=2, gradient_of="logit", steps=steps)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5)
    rise = by_hand(model, ids, end, 2)[0] - by_hand(model, ids, begin, 2)[0]
    assert found.values.sum() == pytest.approx(rise, rel=0.01)
    assert found.diagnostics["completeness_error"][0] < 0.01


def test_relevance_is_at_the_tokens(model: Any, tokenizer: WordTokenizer) -> None:
    lrp: Any = of("lrp", model, tokenizer)
    found = lrp.explain(TEXTS[0], label=0, composite="attn_lrp")
    arrived = found.diagnostics["relevance_arrived"][0]
    assert found.values.sum() == pytest.approx(arrived, rel=1e-4)
    whole = lrp.relevance(TEXTS[0], 0, layer="embeddings.word_embeddings", composite="attn_lrp")
    np.testing.assert_allclose(found.values, whole, rtol=1e-4, atol=1e-6)


# -- words that add up ----------------------------------------------------------------------------

EXACT = ("feature_ablation", "kernel_shap", "lime", "occlusion", "partition_shap")


@pytest.mark.parametrize("name", [*EXACT, "shapley_sampling"])
def test_words_that_add_up_are_found(name: str, bag: Any, tokenizer: WordTokenizer) -> None:
    weights = bag.word_embeddings.weight.numpy()[:, 1].astype(np.float64)
    found = of(name, bag, tokenizer).explain(TEXTS, label=1, gradient_of="logit")
    for text, words in zip(TEXTS, found.word_values(), strict=True):
        ids = tokenizer(text=text)["input_ids"][1:-1]
        expected = weights[ids] - weights[tokenizer.unk_token_id]
        np.testing.assert_allclose([value for _, value in words], expected, atol=1e-5)


def test_deep_lift_and_ig_of_a_sum(bag: Any, tokenizer: WordTokenizer) -> None:
    weights = bag.word_embeddings.weight.numpy()[:, 0]
    for name in ("integrated_gradients", "deep_lift", "simple_taylor"):
        found = of(name, bag, tokenizer).explain(TEXTS[1], label=0, gradient_of="logit")
        ids = tokenizer(text=TEXTS[1])["input_ids"][1:-1]
        np.testing.assert_allclose(
            [value for _, value in found.word_values(signed=True)[0]], weights[ids], atol=1e-6
        )


def test_pieces_of_a_word_go_together(bag: Any) -> None:
    cut = WordTokenizer(["forget", "good"], pieces=3)
    model = BagOfWords(np.random.default_rng(1).normal(size=(cut.vocab_size, 2)))
    taylor = of("simple_taylor", model, cut).explain("forget good", label=0)
    ids = cut(text="forget good")["input_ids"]
    values = model.word_embeddings.weight.numpy()[ids, 0]
    (words,) = taylor.word_values(signed=True)
    assert words[0][0] == "forget"
    assert words[0][1] == pytest.approx(values[1] + values[2], rel=1e-5)
    ablation = of("feature_ablation", model, cut).explain("forget good", label=0)
    blank = model.word_embeddings.weight.numpy()[cut.unk_token_id, 0]
    (words,) = ablation.word_values()
    assert words[0][1] == pytest.approx(values[1] + values[2] - 2 * blank, rel=1e-4)
