"""Texts on their way to a model: tokens, words, special tokens, padding, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl.errors import InputError, InterpretWarning, LayerNotFoundError
from interpretdl.errors import UnsupportedModelError as Unsupported
from interpretdl.texts import TextTokens


class Tokens:
    """Splits at spaces; begins with 1, ends with 2, 0 is padding and 3 unknown."""

    pad_token_id, cls_token_id, sep_token_id, unk_token_id = 0, 1, 2, 3

    def __init__(self, words: Sequence[str]) -> None:
        self.words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *words]

    def __call__(self, text: str, max_seq_len: int = 99) -> dict[str, list[int]]:
        ids = [self.words.index(w) if w in self.words else 3 for w in text.split()]
        ids = [1, *ids[: max_seq_len - 2], 2]
        return {"input_ids": ids, "token_type_ids": [0] * len(ids)}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.words[i] for i in ids]


class Sums(nn.Layer):
    """The sum of a weight for each token, by which class."""

    def __init__(self, words: int = 12) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, 3)
        self.types = nn.Embedding(2, 3)
        weight = np.random.default_rng(0).normal(size=(words, 3)).astype("float32")
        self.word_embeddings.weight.set_value(weight)

    def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
        found = self.word_embeddings(input_ids)
        if token_type_ids is not None:
            found = found + 0 * self.types(token_type_ids)
        return (found * (input_ids != 0).astype("float32").unsqueeze(-1)).sum(axis=1)


def words_of(tokens: Sequence[str], **options: Any) -> tuple[str, ...]:
    """Words that tokens become; the first and the last are special."""
    ids = np.arange(4, 4 + len(tokens))
    read = it.TextPreprocessing(special_ids=[4, 3 + len(tokens)], **options)
    return read.of_arrays(ids, "test", tokens).words


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["play", "##ing", "well", "."], ("playing", "well", ".")),
        (["▁inter", "pre", "t", "▁it", "!"], ("interpret", "it", "!")),
        (["The", "Ġfil", "m", "Ġends"], ("The", "film", "ends")),
        (["fil", "m</w>", "ends</w>"], ("film", "ends")),
        (["这", "部", "电", "影"], ("这", "部", "电", "影")),
        (["▁今天", "天气", "▁good"], ("今天", "天气", "good")),
        (["good", "film"], ("good", "film")),
        (["##s", "a"], ("s", "a")),
    ],
)
def test_tokens_become_words(tokens: list[str], expected: tuple[str, ...]) -> None:
    assert words_of(["[CLS]", *tokens, "[SEP]"]) == expected


def test_words_become_sentences_and_tokens_stay() -> None:
    tokens = ["[CLS]", "It", "play", "##s", ".", "这", "是", "。", "End", "[SEP]"]
    assert words_of(tokens, groups="sentences") == ("It plays.", "这是。", "End")
    assert words_of(tokens, groups="tokens")[1:3] == ("play", "##s")


def test_a_special_token_in_the_middle_parts_words() -> None:
    ids = [1, 5, 2, 6, 2]
    read = it.TextPreprocessing(Tokens(["a", "b", "##c"]))
    text = read.of_arrays(ids, "pair")
    assert text.tokens == ("[CLS]", "b", "[SEP]", "##c", "[SEP]")
    assert text.units.tolist() == [-1, 0, -1, 1, -1]
    assert text.words == ("b", "c")


def test_a_text_is_read_by_a_tokenizer() -> None:
    read = it.TextPreprocessing(Tokens(["good", "film"]))
    text = read.read("good film zzz")
    assert [part.tolist() for part in text.inputs] == [[[1, 4, 5, 3, 2]], [[0] * 5]]
    assert text.words == ("good", "film", "[UNK]")  # unknown, but a word
    assert text.units.tolist() == [-1, 0, 1, 2, -1]
    assert read.filled(text).tolist() == [1, 3, 3, 3, 2]
    assert read.blank(text).tolist() == [1, 0, 0, 0, 2]  # type: ignore[union-attr]


def test_what_stands_for_nothing_can_be_chosen() -> None:
    tokenizer = Tokens(["good", "[MASK]"])
    tokenizer.mask_token_id = 5  # type: ignore[attr-defined]
    text = it.TextPreprocessing(tokenizer).read("good")
    for fill, token in (("mask", 5), ("pad", 0), (4, 4), (None, 3)):
        assert it.TextPreprocessing(tokenizer, fill=fill).filled(text)[1] == token  # type: ignore[arg-type]
    assert it.TextPreprocessing(tokenizer, baseline="unk").blank(text)[1] == 3  # type: ignore[index]
    assert it.TextPreprocessing(tokenizer, baseline="zero").blank(text) is None
    with pytest.raises(InputError, match="mask_id"):
        it.TextPreprocessing(Tokens(["good"]), baseline="mask").blank(text)
    with pytest.raises(InputError, match="which token stands"):
        it.TextPreprocessing().filled(text)


def test_long_texts_are_cut_with_a_warning() -> None:
    read = it.TextPreprocessing(Tokens(["a"]), max_seq_len=6)
    with pytest.warns(InterpretWarning, match="longer than max_seq_len=6"):
        text = read.read("a a a a a a a")
    assert len(text.tokens) == 6
    assert len(read.read("a a a a").tokens) == 6  # just fits, and no warning


def test_tokenizers_with_max_length() -> None:
    class Others(Tokens):
        def __call__(  # type: ignore[override]
            self, text: str, max_length: int = 99, truncation: bool = False
        ) -> dict[str, list[int]]:
            assert truncation
            return {"input_ids": super().__call__(text, max_length)["input_ids"]}

    text = it.TextPreprocessing(Others(["a"]), max_seq_len=9).read("a a")
    assert text.tokens == ("[CLS]", "a", "a", "[SEP]")


@pytest.mark.parametrize("kind", ["array", "tuple", "dict", "tensor", "tokens"])
def test_functions_from_texts_to_inputs(kind: str) -> None:
    ids = np.array([[1, 4, 5, 2]])

    def function(raw: str) -> Any:
        return {
            "array": ids,
            "tuple": (ids, 0 * ids),
            "dict": {"input_ids": ids, "token_type_ids": 0 * ids},
            "tensor": paddle.to_tensor(ids),
            "tokens": ((ids, 0 * ids), ["[CLS]", "good", "film", "[SEP]"]),
        }[kind]

    read = it.TextPreprocessing(
        text_to_input_fn=function, special_ids=[1, 2], unk_id=3, embedding="word_embeddings"
    )
    found = it.LIMEInterpreter(Sums(), preprocessing=read).explain("good film", label=0)
    weight = Sums().word_embeddings.weight.numpy()[:, 0]
    np.testing.assert_allclose(found.values[0, 1:3], weight[4:6] - weight[3], atol=1e-5)
    shown = ("good", "film") if kind == "tokens" else ("4", "5")
    assert tuple(word for word, _ in found.word_values()[0]) == shown


@pytest.mark.parametrize("kind", ["array", "tuple", "dict"])
def test_token_ids_are_explained_too(kind: str) -> None:
    ids = np.array([[1, 4, 5, 2, 0], [1, 6, 2, 0, 0]])
    inputs: Any = {
        "array": ids,
        "tuple": (ids, 0 * ids),
        "dict": {"input_ids": ids, "token_type_ids": 0 * ids},
    }[kind]
    read = it.TextPreprocessing(Tokens(["a", "b", "c"]))
    model = Sums()
    taylor = it.SimpleTaylorInterpreter(model, preprocessing=read).explain(inputs, label=1)
    assert taylor.values.shape == (2, 5, 3)
    assert not taylor.values[1, 3:].any()
    parts = taylor.values.sum(axis=2)
    np.testing.assert_allclose(parts[0, :4], _parts(model, ids[0]), atol=1e-5)
    np.testing.assert_allclose(parts[1, :3], _parts(model, ids[1]), atol=1e-5)


def _parts(model: Sums, ids: Any) -> Any:
    """The tokens' own parts of class 1's logit, without padding."""
    return model.word_embeddings.weight.numpy()[ids[ids != 0], 1]


def test_padding_on_the_left_and_in_between() -> None:
    model = Sums()
    read = it.TextPreprocessing(Tokens(["a", "b", "c"]))
    taylor = it.SimpleTaylorInterpreter(model, preprocessing=read)
    for ids in (np.array([0, 0, 1, 4, 5, 2]), np.array([1, 4, 0, 5, 2, 0])):
        parts = taylor.explain(ids[None], label=1).values[0].sum(axis=1)
        np.testing.assert_allclose(parts[ids != 0], _parts(model, ids), atol=1e-5)
        assert not parts[ids == 0].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": Tokens([]), "text_to_input_fn": len}, "not both"),
        ({"tokenizer": 3}, "tokenizer must be a function"),
        ({"max_seq_len": 0}, "max_seq_len"),
        ({"groups": "letters"}, "groups must be one of 'tokens'"),
        ({"baseline": "black"}, "baseline must be one of"),
        ({"fill": "black"}, "fill must be one of"),
        ({"fill": -1}, "fill"),
        ({"pad_id": 0.5}, "pad_id"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        it.TextPreprocessing(**options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        (["a", 3], "input 1 must be a text"),
        (np.array([[1.0, 2.0]]), "token ids, integers"),
        (np.array([[1, 2]]), "has no word"),
        (7, "array"),
        ([], "a list"),
    ],
)
def test_inputs_that_are_no_texts(given: Any, message: str) -> None:
    gradient = it.GradientInterpreter(Sums(), preprocessing=it.TextPreprocessing(Tokens(["a"])))
    with pytest.raises(InputError, match=message):
        gradient.explain(given)


def test_ways_to_tokens_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="give tokenizer= or"):
        it.TextPreprocessing().read("a")
    with pytest.raises(InputError, match="must give a mapping"):
        it.TextPreprocessing(lambda text: [1, 2]).read("a")
    with pytest.raises(InputError, match="2 token ids and 1 tokens"):
        it.TextPreprocessing(text_to_input_fn=lambda text: ([[4, 5]], ["a"])).read("a")
    with pytest.raises(InputError, match="one row"):
        it.TextPreprocessing(text_to_input_fn=lambda text: np.ones((2, 3), int)).read("a")


def test_a_text_without_a_way_to_read_it_is_told_one() -> None:
    with pytest.raises(it.ImageReadError, match=r"no such file.*To explain a text give"):
        it.GradientInterpreter(Sums()).explain("a good film.")
    with pytest.raises(it.ImageReadError) as error:
        it.GradientInterpreter(Sums()).explain("a good film.png")
    assert "text" not in str(error.value)


def test_methods_for_pictures_refuse_texts() -> None:
    read = it.TextPreprocessing(Tokens(["a"]))
    with pytest.raises(InputError, match="grad_cam does not explain texts"):
        it.GradCAMInterpreter(Sums(), preprocessing=read).explain("a")
    with pytest.raises(InputError, match="for pictures, not for texts"):
        it.GradientInterpreter(Sums(), preprocessing=read).explain("a", resize_to=5)


def test_the_embedding_is_found_or_named() -> None:
    class Two(Sums):
        """Two tables of the ids, neither of whose names says which it is."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Embedding(12, 3), nn.Embedding(12, 3)

        def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
            return (self.one(input_ids) + self.two(input_ids)).sum(axis=1)

    def explain(**options: Any) -> it.Explanation:
        read = it.TextPreprocessing(Tokens(["a", "b"]), **options)
        return it.GradientInterpreter(Two(), preprocessing=read).explain("a b")

    with pytest.raises(Unsupported, match="layers one, two all take the token ids"):
        explain()
    assert explain(embedding="two").values.shape == (1, 4, 3)
    with pytest.raises(LayerNotFoundError, match="no layer 'tow'; did you mean 'two'"):
        explain(embedding="tow")


def test_an_explanation_of_texts_is_kept_in_a_file(tmp_path: Any) -> None:
    read = it.TextPreprocessing(Tokens(["a", "b"]))
    model = Sums()
    found = it.IntegratedGradientsInterpreter(model, preprocessing=read).explain(["a b b", "b"])
    found.save(tmp_path / "one.npz")
    loaded = it.Explanation.load(tmp_path / "one.npz")
    assert loaded.word_values() == found.word_values()
    assert loaded.texts is not None
    assert loaded.texts.tokens == (("[CLS]", "a", "b", "b", "[SEP]"), ("[CLS]", "b", "[SEP]"))
    assert found[1].values.shape == (1, 3, 3)
    assert found[1].word_values() == found.word_values()[1:]
    assert found[1].diagnostics["steps"].shape == (1,)


def test_tokens_words_and_units_must_agree() -> None:
    with pytest.raises(InputError, match="units"):
        TextTokens((("a", "b"),), (("ab",),), np.zeros((1, 3), int))
    with pytest.raises(InputError, match="must be below 1"):
        TextTokens((("a", "b"),), (("ab",),), np.array([[0, 1]]))
    values = np.ones((1, 3), np.float32)
    of_table = it.Explanation(values, np.zeros(1, int), np.ones(1), None, "gradient")
    with pytest.raises(InputError, match="no texts"):
        of_table.word_values()
