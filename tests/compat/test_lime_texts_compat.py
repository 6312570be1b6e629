"""LIME and NormLIME of texts as InterpretDL's users call them."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

import interpretdl as it
from interpretdl.interpreter.lime import least_squares, proximity, subsets
from interpretdl.interpreter.sampling import generator
from interpretdl.testing.texts import WordTokenizer, small_text_transformer

WORDS = ["a", "bad", "film", "good", "is", "long", "one", "the", "very"]
TEXTS = ["a good film is a good one", "the bad film is very very bad", "a long film"]
QUICK: dict[str, Any] = {"num_samples": 60, "batch_size": 16}


class BagOfWords(nn.Layer):
    """Probabilities ½ + s and ½ − s, where s is the sum of the words' weights."""

    seen: ClassVar[list[NDArray[np.int64]]] = []  # runs are of copies

    def __init__(self, weights: NDArray[np.float64]) -> None:
        super().__init__()
        self.embedder = nn.Embedding(len(weights), 1)
        self.embedder.weight.set_value(weights[:, None].astype("float32"))

    def forward(self, ids: Any, types: Any = None) -> Any:
        self.seen.append(ids.numpy())
        s = self.embedder(ids).sum(axis=[1, 2])
        return paddle.stack([0.5 + s, 0.5 - s], axis=1)


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return WordTokenizer(WORDS)


@pytest.fixture
def weights(tokenizer: WordTokenizer) -> NDArray[np.float64]:
    found = np.random.default_rng(3).uniform(-0.02, 0.02, tokenizer.vocab_size)
    found[tokenizer.convert_tokens_to_ids(["[PAD]", "good", "bad"])] = 0, 0.07, -0.07
    return found


@pytest.fixture
def bag(weights: Any) -> BagOfWords:
    BagOfWords.seen.clear()
    return BagOfWords(weights)


@pytest.fixture(scope="module")
def transformer(tokenizer: WordTokenizer) -> Any:
    return small_text_transformer(tokenizer.vocab_size, classes=3, seed=2)


def made(cls: Any, model: Any, **options: Any) -> Any:
    return cls(model, "cpu", output_kind="probabilities", **options)


def truth(raw: str, tokenizer: Any, weights: Any) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """The likeliest class, the token ids, and what each token adds to that class."""
    ids = np.array(tokenizer(raw)["input_ids"])
    adds = np.where(ids > 4, weights[ids] - weights[tokenizer.unk_token_id], 0.0)
    label = int(weights[ids].sum() < 0)
    return label, ids, -adds if label else adds


# -- LIME -----------------------------------------------------------------------------------------


def test_the_signature_is_interpretdls() -> None:
    shown = inspect.signature(it.LIMENLPInterpreter.interpret).parameters
    assert {name: p.default for name, p in list(shown.items())[2:]} == {
        "tokenizer": None, "text_to_input_fn": None, "preprocess_fn": None, "unk_id": 0,
        "pad_id": 0, "classes_to_interpret": None, "num_samples": 1000, "batch_size": 50,
        "max_seq_len": None, "visual": False,
    }  # fmt: skip
    shown = inspect.signature(it.NormLIMENLPInterpreter.interpret).parameters
    assert list(shown)[1:10] == [
        "list_of_raw_text", "preprocess_fn", "num_samples", "batch_size", "unk_id", "pad_id",
        "lod_levels", "save_path", "temp_data_file",
    ]  # fmt: skip


@pytest.mark.parametrize("raw", TEXTS)
def test_an_additive_model_is_recovered(
    raw: str, bag: Any, tokenizer: Any, weights: Any, capsys: Any
) -> None:
    lime = made(it.LIMENLPInterpreter, bag)
    found = lime.interpret(raw, tokenizer, None, None, 0, 0, [0, 1], 60, 16, 128, False)
    label, ids, adds = truth(raw, tokenizer, weights)
    for k in (0, 1):
        positions, values = zip(*found[k], strict=True)
        assert positions == tuple(range(len(ids)))
        assert values[0] == values[-1] == 0
        np.testing.assert_allclose(values, adds if k == label else -adds, atol=1e-6)
        assert lime.lime_results["r2_scores"][k] == pytest.approx(1, abs=1e-6)
    assert lime.lime_results["lime_weights"] == found
    sum_ = weights[ids].sum()
    assert lime.lime_results["probability"] == pytest.approx({0: 0.5 + sum_, 1: 0.5 - sum_})
    assert list(lime.interpret(raw, tokenizer, **QUICK)) == [label]
    assert lime.predicted_label.tolist() == [label]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"Use label: {label}, class {label}"


def test_all_classes_are_fitted_to_the_same_samples_with_specials_left_in(
    bag: Any, tokenizer: Any
) -> None:
    lime = made(it.LIMENLPInterpreter, bag, random_seed=7)
    found = lime.interpret(TEXTS[1], tokenizer, classes_to_interpret=[1, 0], **QUICK)
    assert list(found) == [1, 0]
    seen = np.concatenate(bag.seen)
    assert len(seen) == 60  # of which the first is the text
    ids = np.array(tokenizer(TEXTS[1])["input_ids"])
    np.testing.assert_array_equal(seen[0], ids)
    z = subsets(generator(7, 0), 59, 7)
    np.testing.assert_array_equal(seen[1:, 1:-1], np.where(z, ids[1:-1], tokenizer.unk_token_id))
    assert (seen[:, [0, -1]] == ids[[0, -1]]).all()
    assert max(map(len, bag.seen)) <= 16


def test_weights_are_limes_on_a_transformer(transformer: Any, tokenizer: Any) -> None:
    lime = it.LIMENLPInterpreter(transformer, random_seed=4)
    found = lime.interpret(TEXTS[0], tokenizer, classes_to_interpret=np.array([2, 0]), **QUICK)
    ids = np.array([tokenizer(TEXTS[0])["input_ids"]])
    z = np.concatenate([np.ones((1, 7), bool), subsets(generator(4, 0), 59, 7)])
    images = np.repeat(ids, 60, axis=0)
    images[:, 1:-1] = np.where(z, images[:, 1:-1], tokenizer.unk_token_id)
    logits = it.Probe(transformer).logits(images).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for label in (2, 0):
        fit = least_squares(z, p[:, label], proximity(z, 0.25))
        np.testing.assert_allclose([w for _, w in found[label][1:-1]], fit.weights, atol=1e-5)
    again = it.LIMENLPInterpreter(transformer, random_seed=4)
    assert again.interpret(TEXTS[0], tokenizer, classes_to_interpret=[2, 0], **QUICK) == found
    other = it.LIMENLPInterpreter(transformer).interpret(
        TEXTS[0], tokenizer, classes_to_interpret=[2, 0], **QUICK
    )
    assert other != found


def test_forms_of_texts_and_classes(bag: Any, tokenizer: Any, weights: Any) -> None:
    lime = made(it.LIMENLPInterpreter, bag, class_names=["good", "bad"])
    one = lime.interpret(TEXTS[0], tokenizer, classes_to_interpret="bad", **QUICK)
    assert list(one) == [1]
    for form in (1, [1], np.array([1]), ("bad",)):
        assert lime.interpret(TEXTS[0], tokenizer, classes_to_interpret=form, **QUICK) == one
    several = lime.interpret(TEXTS, tokenizer, classes_to_interpret=1, **QUICK)
    assert [len(each[1]) for each in several] == [9, 9, 5]
    assert several[0] == one
    assert len(lime.lime_results) == 3
    # ids alone: pad_id and unk_id count, and every token is a word
    ids = np.array([[2, 5, 6, 3, 0, 0]])
    found = lime.interpret(ids, unk_id=1, pad_id=0, classes_to_interpret=0, **QUICK)
    np.testing.assert_allclose(
        [w for _, w in found[0]], weights[ids[0, :4]] - weights[1], atol=1e-6
    )
    found = lime.interpret(ids, unk_id=1, pad_id=None, classes_to_interpret=0, **QUICK)
    np.testing.assert_allclose([w for _, w in found[0]], weights[ids[0]] - weights[1], atol=1e-6)
    for wrong in (5, [], "long", lambda output: output[:, 0]):
        with pytest.raises(it.TargetError):
            lime.interpret(TEXTS[0], tokenizer, classes_to_interpret=wrong, **QUICK)
    for name in ("num_samples", "batch_size"):
        with pytest.raises(it.InputError, match=name):
            lime.interpret(TEXTS[0], tokenizer, **{**QUICK, name: 0})
    with pytest.warns(it.InterpretWarning, match="4 samples do not determine"):
        lime.interpret(TEXTS[0], tokenizer, num_samples=4)


def test_a_function_by_its_former_name(bag: Any, tokenizer: Any) -> None:
    lime = made(it.LIMENLPInterpreter, bag)
    fn = lambda raw: np.array([tokenizer(raw)["input_ids"]])  # noqa: E731
    expected = lime.interpret(TEXTS[2], None, fn, **QUICK)
    with pytest.warns(DeprecationWarning, match="give text_to_input_fn=") as warned:
        assert lime.interpret(TEXTS[2], preprocess_fn=fn, **QUICK) == expected
    assert warned[0].filename == __file__
    with pytest.raises(it.InputError, match="former name"):
        lime.interpret(TEXTS[2], text_to_input_fn=fn, preprocess_fn=fn)


def test_explain_takes_words_out(bag: Any, weights: Any) -> None:
    pieces = WordTokenizer(WORDS, pieces=3)
    bag = BagOfWords(np.random.default_rng(0).normal(0, 0.02, pieces.vocab_size))
    found = made(it.LIMENLPInterpreter, bag).explain("a good film", 0, tokenizer=pieces)
    plain = made(it.LIMEInterpreter, bag, preprocessing=it.TextPreprocessing(pieces))
    np.testing.assert_array_equal(found.values, plain.explain("a good film", 0).values)
    assert [word for word, _ in found.word_values()[0]] == ["a", "good", "film"]
    weights = made(it.LIMENLPInterpreter, bag).interpret("a good film", pieces, **QUICK)
    assert [len(each) for each in weights.values()] == [len(pieces("a good film")["input_ids"])]


# -- NormLIME -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_weights_are_the_means_over_words(
    bag: Any, tokenizer: Any, weights: Any, folder: Path
) -> None:
    sums: dict[int, dict[int, list[float]]] = {}
    for raw in TEXTS:
        label, ids, adds = truth(raw, tokenizer, weights)
        for token, add in zip(ids.tolist(), adds, strict=True):
            if add > 0:
                each = sums.setdefault(label, {}).setdefault(token, [])
                each.append(add**2 / np.abs(adds).sum())
    assert sorted(sums) == [0, 1]
    assert max(len(each) for label in sums.values() for each in label.values()) > 1
    norm = made(it.NormLIMENLPInterpreter, bag)
    found = norm.interpret([*TEXTS, TEXTS[0]], tokenizer=tokenizer, **QUICK)
    assert {label: set(each) for label, each in found.items()} == {
        label: set(each) for label, each in sums.items()
    }
    for label, each in sums.items():
        for token, sizes in each.items():
            weight, count = found[label][token]
            assert count == len(sizes)
            assert weight == pytest.approx(np.mean(sizes), abs=1e-6)
    assert list(norm.all_lime_weights) == TEXTS
    saved = it.interpreter.global_weights.load_npy_dict_file("normlime_weights.npy")
    assert saved == found


def test_interpretdls_own_calls(bag: Any, tokenizer: Any, folder: Path) -> None:
    norm = made(it.NormLIMENLPInterpreter, bag)
    fn = lambda raw: tuple(np.array([v]) for v in tokenizer(text=raw).values())  # noqa: E731
    ids = {"unk_id": tokenizer.convert_tokens_to_ids("[UNK]"),
           "pad_id": tokenizer.convert_tokens_to_ids("[PAD]")}  # fmt: skip
    first = norm.interpret(TEXTS, fn, 20, 20, **ids, temp_data_file=None)
    assert sorted(os.listdir()) == ["normlime_weights.npy"]
    second = norm.interpret(TEXTS, fn, 20, 20, **ids)
    ran = len(bag.seen)
    third = norm.interpret(TEXTS, fn, 20, 20, **ids)
    assert len(bag.seen) == ran  # loaded
    assert first == second == third
    assert sorted(os.listdir()) == ["all_lime_weights.npz"] + [
        f"normlime_weights{n}.npy" for n in ("-0", "-1", "")
    ]
    with pytest.warns(DeprecationWarning, match="lod_levels= is ignored"):
        norm.interpret(TEXTS, fn, 20, 20, **ids, lod_levels=[0, 0], save_path=None)
    changed = norm.interpret(TEXTS, fn, 20, 20, unk_id=8, save_path=None)
    assert len(bag.seen) > ran
    assert changed != first
    # without the special tokens, which a function does not tell
    words = it.TextPreprocessing(special_ids=[2, 3])
    told = made(it.NormLIMENLPInterpreter, bag, preprocessing=words)
    found = told.interpret(TEXTS, fn, 60, 20, **ids, save_path=None, temp_data_file=None)
    by_tokenizer = norm.interpret(
        TEXTS, None, 60, 20, tokenizer=tokenizer, save_path=None, temp_data_file=None
    )
    assert found == by_tokenizer
    assert not {2, 3} & {token for each in found.values() for token in each}


def test_a_file_of_interpretdls_is_taken_with_a_warning(
    bag: Any, tokenizer: Any, folder: Path
) -> None:
    pairs = [(0, 9.0), (1, 0.5), (2, -0.25), (3, 0.25), (4, 9.0)]
    content: Any = {TEXTS[2]: {"lime_weights": {np.int64(1): pairs}}}
    np.savez("theirs.npz", **content)
    norm = made(it.NormLIMENLPInterpreter, bag)
    options: dict[str, Any] = {"tokenizer": tokenizer, "temp_data_file": "theirs.npz", **QUICK}
    with pytest.warns(it.InterpretWarning, match="does not say with which model"):
        found = norm.interpret(TEXTS[2:], save_path=None, **options)
    ids = tokenizer(TEXTS[2])["input_ids"]
    assert found == {1: {ids[1]: (0.25, 1), ids[3]: (0.0625, 1)}}
    content = {TEXTS[2]: {"lime_weights": {1: [(7, 0.5)]}}}
    np.savez("theirs.npz", **content)  # of a longer text: computed
    found = norm.interpret(TEXTS[2:], save_path=None, **options)
    assert found == norm.interpret(TEXTS[2:], save_path=None, **{**options, "temp_data_file": None})
    for wrong in ({"lime_weights": {1: [0.5]}}, {"lime_weights": {1: [(-1, 0.5)]}}, {}):
        content = {"text": wrong}
        np.savez("theirs.npz", **content)
        with pytest.raises(it.InputError, match="no result of LIME on a text"):
            norm.interpret(TEXTS[2:], save_path=None, **options)


def test_long_texts_and_texts_without_words(
    bag: Any, tokenizer: Any, folder: Path, weights: Any
) -> None:
    norm = made(it.NormLIMENLPInterpreter, bag)
    long = "a good film " * 3000 + "\0"
    with pytest.warns(it.InterpretWarning, match="longer than max_seq_len=9"):
        first = norm.interpret(long, tokenizer=tokenizer, max_seq_len=9, save_path=None, **QUICK)
    ran = len(bag.seen)
    with pytest.warns(it.InterpretWarning, match="longer than max_seq_len=9"):
        again = norm.interpret(long, tokenizer=tokenizer, max_seq_len=9, save_path=None, **QUICK)
    assert (again, len(bag.seen)) == (first, ran)
    with pytest.warns(it.InterpretWarning, match="a text is left out"):
        found = norm.interpret([" ", TEXTS[2]], tokenizer=tokenizer, save_path=None, **QUICK)
    assert found
    with (
        pytest.warns(it.InterpretWarning, match="a text is left out"),
        pytest.raises(it.InputError, match="none of 1 texts"),
    ):
        norm.interpret([" "], tokenizer=tokenizer, save_path=None, **QUICK)
    for wrong in ([], [3], [TEXTS[0], None]):
        with pytest.raises(it.InputError, match="must be texts"):
            norm.interpret(wrong, tokenizer=tokenizer)
    with pytest.raises(it.InputError, match="give preprocess_fn= or tokenizer="):
        norm.interpret(TEXTS)
    with pytest.raises(it.ResourceError):
        norm.interpret(TEXTS, tokenizer=tokenizer, save_path=str(folder / "no" / "a.npy"))
