"""InterpretDL's PerturbationNLP and InfidelityNLP: arguments and results, without its faults."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.testing.texts import WordTokenizer, small_text_transformer

TOKENIZER = WordTokenizer(["a", "film", "one", "does", "not", "forget", "bad", "very"])
TEXT = "A film one does not forget"  # eight tokens with [CLS] and [SEP]
T = 8
VALUES = np.array([[5.0, 3.0, -1.0, 2.0, 0.5, 4.0, 1.0, 7.0]])


@pytest.fixture
def model() -> Any:
    return small_text_transformer(TOKENIZER.vocab_size)


def probabilities(model: Any, ids: Any) -> np.ndarray:
    """Of all classes, [n, K]."""
    with paddle.no_grad():
        logits = model(paddle.to_tensor(np.asarray(ids, np.int64)))
    return np.asarray(paddle.nn.functional.softmax(logits, axis=-1).numpy(), np.float64)


def encoded() -> np.ndarray:
    return np.array(TOKENIZER(text=TEXT)["input_ids"], np.int64)


def masked(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Ids with tokens replaced by [PAD], the first and the last kept."""
    ids = encoded()
    out = out.copy()
    out[[0, -1]] = False
    ids[out] = TOKENIZER.pad_token_id
    return ids


def test_arguments_are_interpretdls() -> None:
    assert list(inspect.signature(it.PerturbationNLP.evaluate).parameters) == [
        "self", "raw_text", "explanation", "tokenizer", "compute_MoRF", "compute_LeRF",
        "batch_size", "max_seq_len", "percentile",
    ]  # fmt: skip
    assert list(inspect.signature(it.InfidelityNLP.evaluate).parameters) == [
        "self", "raw_text", "explanation", "tokenizer", "max_seq_len", "is_random_samples",
        "recompute",
    ]  # fmt: skip


def test_perturbation_one_token_after_the_other(model: Any) -> None:
    values = VALUES[0]
    found = it.PerturbationNLP(model, "cpu").evaluate(TEXT, VALUES, TOKENIZER)
    inner = np.sort(values[1:-1])
    most = [encoded(), *(masked(values, values >= v) for v in inner[::-1])]
    least = [encoded(), *(masked(values, values <= v) for v in inner)]
    top = probabilities(model, most[:1])[0].argmax()
    for name, samples in (("MoRF", most), ("LeRF", least)):
        (ids,) = found[f"{name}_samples"]
        assert ids.dtype == np.int64
        np.testing.assert_array_equal(ids, samples)
        told = probabilities(model, samples)[:, top]
        np.testing.assert_allclose(found[f"{name}_probas"], told, atol=1e-5)
        assert isinstance(found[f"{name}_score"], float)
        assert found[f"{name}_score"] == pytest.approx(told.mean(), abs=1e-5)
    assert len(found) == 6


def test_perturbation_by_percentiles(model: Any) -> None:
    values = VALUES[0]
    found = it.PerturbationNLP(model).evaluate(TEXT, values, TOKENIZER, percentile=True)
    tiles = np.percentile(values[1:-1], np.arange(101))
    most = [encoded(), *(masked(values, values >= v) for v in tiles[:100][::-1])]
    least = [encoded(), *(masked(values, values <= v) for v in tiles[1:])]
    np.testing.assert_array_equal(found["MoRF_samples"][0], most)
    np.testing.assert_array_equal(found["LeRF_samples"][0], least)
    assert found["MoRF_probas"].shape == found["LeRF_probas"].shape == (101,)


def test_halves_batches_and_forms(model: Any) -> None:
    evaluator = it.PerturbationNLP(model)
    both = evaluator.evaluate(TEXT, VALUES, TOKENIZER)
    most = evaluator.evaluate(TEXT, VALUES, TOKENIZER, compute_LeRF=False)
    assert set(most) == {"MoRF_score", "MoRF_probas", "MoRF_samples"}
    least = evaluator.evaluate(TEXT, VALUES, TOKENIZER, False, True, 2, 64, False)
    np.testing.assert_allclose(least["LeRF_probas"], both["LeRF_probas"], atol=1e-6)
    with pytest.raises(it.InputError, match="compute_MoRF or compute_LeRF"):
        evaluator.evaluate(TEXT, VALUES, TOKENIZER, False, False)
    vectors = np.repeat(VALUES[:, :, None] / 4, 4, axis=2)  # [1, T, E], as gradients have it
    method = it.IntegratedGradientsInterpreter(model, preprocessing=it.TextPreprocessing(TOKENIZER))
    explained = method.explain(TEXT)
    by_array = evaluator.evaluate(TEXT, explained.values, TOKENIZER)
    for given, same in ((VALUES[0].tolist(), both), (vectors, both), (explained, by_array)):
        got = evaluator.evaluate(TEXT, given, TOKENIZER)
        np.testing.assert_array_equal(got["MoRF_probas"], same["MoRF_probas"])
    with pytest.warns(it.InterpretWarning, match="longer than max_seq_len=5"):
        short = evaluator.evaluate(TEXT, VALUES[0, :5], TOKENIZER, max_seq_len=5)
    assert short["MoRF_samples"][0].shape == (4, 5)


def test_infidelity_of_every_run(model: Any) -> None:
    values, told, made = VALUES[0], [], []
    whole = probabilities(model, [encoded()])[0]
    top = whole.argmax()
    for length in range(1, 6):
        for start in range(1, T - length):
            out = np.zeros(T, bool)
            out[start : start + length] = True
            told.append(values[out].sum())
            made.append(whole[top] - probabilities(model, [masked(values, out)])[0, top])
    factor = np.mean(np.multiply(told, made)) / np.mean(np.square(told))
    wanted = np.mean(np.square(factor * np.array(told) - made))
    evaluator = it.InfidelityNLP(model)
    found = evaluator.evaluate(TEXT, VALUES, TOKENIZER)
    assert isinstance(found, float)
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-9)
    # Another text in between leaves nothing behind, as it does in InterpretDL.
    evaluator.evaluate("a bad film", [0.0, 1.0, 2.0, 3.0, 0.0], TOKENIZER)
    assert evaluator.evaluate(TEXT, VALUES, TOKENIZER, recompute=True) == found
    assert evaluator.evaluate(TEXT, VALUES * 3, TOKENIZER) == pytest.approx(found, rel=1e-6)


def test_infidelity_of_random_sets(model: Any) -> None:
    """One token at least: InterpretDL takes none of a text below 20 tokens."""
    values, whole = VALUES[0], probabilities(model, [encoded()])[0]
    top, alone = whole.argmax(), []
    for place in range(1, T - 1):
        out = np.arange(T) == place
        alone.append(whole[top] - probabilities(model, [masked(values, out)])[0, top])
    sizes, made = values[1:-1], np.array(alone)
    found = [
        it.InfidelityNLP(model, seed=seed).evaluate(TEXT, VALUES, TOKENIZER, 128, True)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    # 200 draws of one of six tokens: near the mean over all six.
    factor = np.mean(sizes * made) / np.mean(sizes**2)
    errors = np.square(factor * sizes - made)
    bound = 6 * errors.std() / np.sqrt(200) + 1e-4 * errors.mean()
    assert abs(found[0] - errors.mean()) < bound


def test_what_does_not_fit_is_refused(model: Any) -> None:
    for cls in (it.PerturbationNLP, it.InfidelityNLP):
        evaluator = cls(model)
        with pytest.raises(it.InputError, match=r"8 tokens.*\[8\].*got \[7\]"):
            evaluator.evaluate(TEXT, VALUES[0, 1:], TOKENIZER)
        with pytest.raises(it.InputError, match="takes one text; got list"):
            evaluator.evaluate([TEXT], VALUES, TOKENIZER)
        with pytest.raises(it.InputError, match="needs a model"):
            cls().evaluate(TEXT, VALUES, TOKENIZER)


def test_measure_is_the_evaluators(model: Any) -> None:
    read = it.TextPreprocessing(TOKENIZER)
    found = it.OcclusionInterpreter(model, preprocessing=read).explain([TEXT, "a bad film"])
    for cls in (it.PerturbationNLP, it.InfidelityNLP):
        mine = cls(model, preprocessing=read).measure([TEXT, "a bad film"], found)
        (base,) = cls.__bases__
        theirs = base(model, preprocessing=read).measure([TEXT, "a bad film"], found)
        np.testing.assert_array_equal(mine.values, theirs.values)
