"""The small tokenizer and transformer for text, and classifiers trained on sentences."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from interpretdl.errors import InputError
from interpretdl.testing.texts import WordTokenizer, small_text_transformer
from tests import sentences

planted_words = sentences.planted_words
docstring_sentences = sentences.docstring_sentences

WORDS = ("a", "good", "film", "don", "'", "t", "好", "文")


def logits(model: Any, ids: Any, *rest: Any) -> Any:
    return model(*(paddle.to_tensor(np.atleast_2d(each)) for each in (ids, *rest))).numpy()


# -- tokenizer -------------------------------------------------------------------------------------


def test_words_become_numbers_and_words_again() -> None:
    tokenizer = WordTokenizer(WORDS)
    found = tokenizer(text="A good film: don't!", max_seq_len=128)
    assert list(found) == ["input_ids", "token_type_ids"]
    tokens = tokenizer.convert_ids_to_tokens(found["input_ids"])
    assert tokens == ["[CLS]", "a", "good", "film", "[UNK]", "don", "'", "t", "[UNK]", "[SEP]"]
    assert tokenizer.convert_tokens_to_ids(tokens) == found["input_ids"]
    assert found["token_type_ids"] == [0] * len(tokens)


def test_the_vocabulary_begins_with_special_tokens() -> None:
    tokenizer = WordTokenizer(["Film", "film", "[PAD]", "a"])
    assert tokenizer.vocab_size == len(tokenizer) == 5 + 2
    special = tokenizer.convert_ids_to_tokens(tokenizer.all_special_ids)
    assert special == list(tokenizer.all_special_tokens)
    for name in ("pad", "unk", "cls", "sep", "mask"):
        number = getattr(tokenizer, f"{name}_token_id")
        assert tokenizer.convert_ids_to_tokens(number) == getattr(tokenizer, f"{name}_token")
        assert tokenizer.convert_tokens_to_ids(f"[{name.upper()}]") == number
    assert tokenizer.convert_tokens_to_ids("never seen") == tokenizer.unk_token_id


def test_a_chinese_character_is_a_word() -> None:
    assert WordTokenizer(WORDS).tokenize("好film文，a") == ["好", "film", "文", "[UNK]", "a"]


def test_a_long_text_is_cut_before_the_last_special_token() -> None:
    tokenizer = WordTokenizer(WORDS)
    whole = tokenizer(text="a good film a good film")["input_ids"]
    for length in range(3, 12):
        cut = tokenizer(text="a good film a good film", max_seq_len=length)["input_ids"]
        assert cut == [*whole[:-1][: length - 1], tokenizer.sep_token_id]


def test_short_texts_are_padded() -> None:
    plain, padding = WordTokenizer(WORDS), WordTokenizer(WORDS, pad_to=6)
    for text in ("", "a film", "a good film a good film"):
        ids = plain(text=text)["input_ids"]
        found = padding(text=text)
        assert found["input_ids"] == ids + [0] * (6 - len(ids))
        assert len(found["token_type_ids"]) == len(found["input_ids"])
    assert len(padding(text="a", max_seq_len=4)["input_ids"]) == 4


def test_long_words_are_cut_into_pieces_that_join_again() -> None:
    tokenizer = WordTokenizer(["wonderful", "film", "wonder"], pieces=4)
    assert tokenizer.tokenize("Wonderful film wonder") == [
        "wond", "##erfu", "##l", "film", "wond", "##er",
    ]  # fmt: skip
    assert "".join(tokenizer.tokenize("wonderful")).replace("##", "") == "wonderful"
    assert tokenizer.tokenize("wonders") == ["[UNK]"]  # "##ers" is not known


def test_what_does_not_fit_is_refused() -> None:
    tokenizer: Any = WordTokenizer(WORDS)
    for wrong in (
        lambda: tokenizer(text=["a", "b"]),
        lambda: tokenizer(text="a", max_seq_len=2),
        lambda: tokenizer.convert_ids_to_tokens(99),
        lambda: tokenizer.convert_ids_to_tokens([-1]),
        lambda: WordTokenizer(WORDS, pieces=0),
        lambda: WordTokenizer(WORDS, pad_to=0),
    ):
        with pytest.raises(InputError):
            wrong()


# -- transformer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_padding_changes_nothing(seed: int) -> None:
    model = small_text_transformer(20, classes=3, seed=seed)
    ids = np.random.default_rng(seed).integers(1, 20, (4, 7))
    once = logits(model, ids)
    for more in (1, 5, 57):
        padded = np.pad(ids, ((0, 0), (0, more)))
        np.testing.assert_allclose(logits(model, padded), once, atol=1e-6)
        np.testing.assert_allclose(logits(model, padded, 0 * padded), once, atol=1e-6)


def test_every_argument_counts() -> None:
    """Each word, the order of words and their types change the logits."""
    model = small_text_transformer(20)
    ids = np.arange(2, 12)
    once = logits(model, ids)
    for place in range(len(ids)):
        other = ids.copy()
        other[place] = 15
        assert np.abs(logits(model, other) - once).max() > 1e-3
    assert np.abs(logits(model, ids[[0, *range(9, 0, -1)]]) - once).max() > 1e-3
    assert np.abs(logits(model, ids, 0 * ids + 1) - once).max() > 1e-3


def test_weights_are_drawn_from_the_seed_and_from_nothing_else() -> None:
    before = [state.current_seed() for state in paddle.get_rng_state()]
    paddle.seed(3)
    drawn = paddle.rand([4]).numpy()
    paddle.seed(3)
    first = small_text_transformer(20, seed=1)
    np.testing.assert_array_equal(paddle.rand([4]).numpy(), drawn)
    paddle.seed(before[0])
    second, third = (small_text_transformer(20, seed=seed) for seed in (1, 2))
    ids = np.arange(2, 12)
    np.testing.assert_array_equal(logits(first, ids), logits(second, ids))
    assert np.abs(logits(first, ids) - logits(third, ids)).max() > 1e-3


def test_layers_are_called_as_in_bert() -> None:
    model = small_text_transformer(20, classes=4, depth=3, width=24, heads=3)
    names = [name for name, _ in model.named_sublayers()]
    for name in ("embeddings.word_embeddings", "encoder.layers.2.self_attn", "pooler.dense"):
        assert name in names
    assert logits(model, np.arange(2, 12)).shape == (1, 4)
    assert model.class_names == ("class-a", "class-b", "class-c", "class-d")
    assert not model.training
    assert not model.embeddings.word_embeddings.weight[0].numpy().any()


# -- trained on sentences --------------------------------------------------------------------------


def accuracy(trained: sentences.Trained) -> float:
    ids = sentences.encoded(trained.tokenizer, trained.texts)
    return float((logits(trained.model, ids).argmax(axis=1) == trained.labels).mean())


def test_planted_words_decide(planted_words: sentences.Trained) -> None:
    assert accuracy(planted_words) > 0.97
    for text, label in zip(planted_words.texts, planted_words.labels, strict=True):
        signs = sentences.planted(text.split(), label)
        assert 1 <= signs.sum() <= 2
        assert 6 <= len(signs) <= 14


def test_each_planted_word_moves_the_logit(planted_words: sentences.Trained) -> None:
    """By about 1.5 to its side; other words hardly. [UNK] takes a word's place."""
    tokenizer = planted_words.tokenizer
    moved: list[float] = []
    neutral: list[float] = []
    ids = sentences.encoded(tokenizer, planted_words.texts[:60])
    whole = logits(planted_words.model, ids) @ [-1, 1]
    tokens = [tokenizer.convert_ids_to_tokens(row) for row in ids]
    signs = np.array([sentences.planted(row, 1) for row in tokens])
    for place in range(1, ids.shape[1]):
        other = ids.copy()
        other[:, place] = np.where(ids[:, place] > 4, tokenizer.unk_token_id, ids[:, place])
        change = whole - logits(planted_words.model, other) @ [-1, 1]
        moved += list((change * signs[:, place])[signs[:, place] != 0])
        neutral += list(np.abs(change)[(signs[:, place] == 0) & (ids[:, place] > 4)])
    assert np.quantile(moved, 0.05) > 0.5 > np.quantile(neutral, 0.95)
    assert np.mean(moved) == pytest.approx(sentences.LOGIT, abs=0.5)


def test_docstrings_are_told_apart(docstring_sentences: sentences.Trained) -> None:
    assert accuracy(docstring_sentences) > 0.65  # the most frequent class has about 0.3
    assert len(set(docstring_sentences.texts)) == len(docstring_sentences.texts)
    words = Counter(
        word for text in docstring_sentences.texts for word in WordTokenizer.split(text)
    )
    assert not sentences.NAMES & set(words)
    assert len(np.unique(docstring_sentences.labels)) == 4
    known = set(words) - {"[UNK]"}
    assert docstring_sentences.tokenizer.vocab_size <= sentences.VOCABULARY + 5
    assert len(known) > 1000


def test_what_is_kept_is_what_was_learned(
    planted_words: sentences.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "_learn_random", lambda: planted_words)
    sentences.trained_on_planted_words(tmp_path / "new")
    monkeypatch.setattr(sentences, "_learn_random", None)  # the file is read
    found = sentences.trained_on_planted_words(tmp_path / "new")
    assert found.texts == planted_words.texts
    np.testing.assert_array_equal(found.labels, planted_words.labels)
    ids = sentences.encoded(found.tokenizer, found.texts[:8])
    np.testing.assert_array_equal(logits(found.model, ids), logits(planted_words.model, ids))
    assert found.model.class_names == ("bad", "good")
    assert len(list((tmp_path / "new").iterdir())) == 1
