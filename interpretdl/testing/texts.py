"""A tokenizer and a transformer for text, small enough for tests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, overload

import numpy as np
import paddle

from ..errors import InputError

__all__ = ["WordTokenizer", "small_text_transformer"]

# A Chinese character, a word or number, a punctuation mark.
_UNIT = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+|[^\w\s]")


class WordTokenizer:
    """WordTokenizer: splits text into words and punctuation marks, and numbers them.

    It is called like PaddleNLP's tokenizers and has their attributes, without their files of
    vocabulary. Text is lower-cased; a Chinese character is a word. What is not in the vocabulary
    becomes [UNK].

        tokenizer = WordTokenizer(["a", "good", "film"])
        tokenizer(text="A good book")
        # {"input_ids": [2, 5, 6, 1, 3], "token_type_ids": [0, 0, 0, 0, 0]}

    Args:
        words: the vocabulary in the order of its ids, which follow those of the special tokens.
            Words that come again are skipped.
        pieces: longer words are cut into pieces of so many characters, of which all but the first
            begin with "##", as WordPiece writes them. None: words stay whole.
        pad_to: shorter texts are padded with [PAD] to so many tokens. None: no padding.

    Attributes:
        all_special_tokens, all_special_ids: [PAD], [UNK], [CLS], [SEP] and [MASK], and their ids.
        pad_token, pad_token_id, unk_token, unk_token_id, …: each of them.

    Raises:
        InputError: `pieces` or `pad_to` below 1.
    """

    pad_token, unk_token, cls_token, sep_token, mask_token = all_special_tokens = (
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    )  # fmt: skip
    pad_token_id, unk_token_id, cls_token_id, sep_token_id, mask_token_id = range(5)
    all_special_ids = (0, 1, 2, 3, 4)

    def __init__(
        self, words: Iterable[str], *, pieces: int | None = None, pad_to: int | None = None
    ) -> None:
        for name, value in (("pieces", pieces), ("pad_to", pad_to)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be 1 or more, or None; got {value}")
        self.pieces, self.pad_to = pieces, pad_to
        words = (word.lower() for word in words if word not in self.all_special_tokens)
        tokens = (piece for word in words for piece in self._pieces_of(word))
        self._tokens = tuple(dict.fromkeys((*self.all_special_tokens, *tokens)))
        self._ids = {token: number for number, token in enumerate(self._tokens)}

    @property
    def vocab_size(self) -> int:
        """The number of tokens, special ones included."""
        return len(self._tokens)

    def __len__(self) -> int:
        return self.vocab_size

    @staticmethod
    def split(text: str) -> list[str]:
        """The text's words and punctuation marks, in lower case, known or not."""
        return _UNIT.findall(text.lower())

    def tokenize(self, text: str) -> list[str]:
        """The text's tokens without special ones, but [UNK] for each unknown word."""
        found: list[str] = []
        for word in self.split(text):
            parts = self._pieces_of(word)
            known = all(part in self._ids for part in parts)
            found += parts if known else [self.unk_token]
        return found

    def __call__(self, text: str, max_seq_len: int | None = None) -> dict[str, list[int]]:
        """Numbers of [CLS], the text's tokens and [SEP], and of padding.

        Args:
            text: one text.
            max_seq_len: the most tokens, special ones included; more are cut off before [SEP].

        Returns:
            {"input_ids": …, "token_type_ids": …}, lists of the same length; all types are 0.

        Raises:
            InputError: not a text; no room for a token between [CLS] and [SEP].
        """
        if not isinstance(text, str):
            raise InputError(f"text must be a str; got {type(text).__name__}")
        if max_seq_len is not None and max_seq_len < 3:
            raise InputError(f"max_seq_len must be 3 or more, or None; got {max_seq_len}")
        tokens = self.tokenize(text)[: None if max_seq_len is None else max_seq_len - 2]
        ids = self.convert_tokens_to_ids([self.cls_token, *tokens, self.sep_token])
        length = min(self.pad_to or 0, max_seq_len or self.pad_to or 0)
        ids += [self.pad_token_id] * (length - len(ids))
        return {"input_ids": ids, "token_type_ids": [0] * len(ids)}

    @overload
    def convert_ids_to_tokens(self, ids: int) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> str | list[str]:
        """The token of an id, or the tokens of several.

        Raises:
            InputError: no token has that id.
        """
        if isinstance(ids, Iterable):
            return [self.convert_ids_to_tokens(int(number)) for number in ids]
        if not 0 <= ids < self.vocab_size:
            raise InputError(f"no token has the id {ids}; there are {self.vocab_size}")
        return self._tokens[ids]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """The id of a token, or those of several; unknown ones have that of [UNK]."""
        if isinstance(tokens, str):
            return self._ids.get(tokens, self.unk_token_id)
        return [self._ids.get(token, self.unk_token_id) for token in tokens]

    def _pieces_of(self, word: str) -> list[str]:
        if self.pieces is None:
            return [word]
        parts = [word[i : i + self.pieces] for i in range(0, len(word), self.pieces)]
        return parts[:1] + [f"##{part}" for part in parts[1:]]


def small_text_transformer(
    vocab: int,
    classes: int = 2,
    seed: int = 0,
    width: int = 16,
    depth: int = 2,
    heads: int = 2,
    max_len: int = 64,
) -> Any:
    """A transformer in eval mode that classifies texts, built like BERT.

    Its layers have the names that they have in PaddleNLP's BERT and ERNIE:
    `embeddings.word_embeddings`, `encoder.layers.0.self_attn`, `pooler.dense`, `classifier`.
    Tokens of id 0 are padding: no token attends to them, and their embedding is 0, as ERNIE's.
    `forward(input_ids, token_type_ids=None)` takes int64 [N, T] and returns logits [N, classes].

    Args:
        vocab: the number of tokens.
        classes: K; they are called class-a, class-b, …
        seed: weights are drawn from it. Paddle's random state stays as it was.
        width: numbers that stand for a token; a multiple of `heads`.
        depth: layers of attention.
        heads: attention heads in each layer.
        max_len: the most tokens of a text.
    """
    nn = paddle.nn

    class Embeddings(nn.Layer):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.word_embeddings = nn.Embedding(vocab, width, padding_idx=0)
            self.position_embeddings = nn.Embedding(max_len, width)
            self.token_type_embeddings = nn.Embedding(2, width)
            self.layer_norm = nn.LayerNorm(width)

        def forward(self, ids: Any, types: Any) -> Any:
            x = self.word_embeddings(ids) + self.token_type_embeddings(types)
            x = x + self.position_embeddings(paddle.arange(ids.shape[1]))
            return self.layer_norm(x)

    class Pooler(nn.Layer):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.activation = nn.Linear(width, width), nn.Tanh()

        def forward(self, x: Any) -> Any:
            return self.activation(self.dense(x[:, 0]))

    class Classifier(nn.Layer):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            block = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu")
            self.embeddings = Embeddings()
            self.encoder = nn.TransformerEncoder(block, depth)
            self.pooler, self.classifier = Pooler(), nn.Linear(width, classes)

        def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
            if token_type_ids is None:
                token_type_ids = paddle.zeros_like(input_ids)
            padding = (input_ids == 0).astype(self.classifier.weight.dtype)
            x = self.embeddings(input_ids, token_type_ids)
            x = self.encoder(x, (padding * -1e4).unsqueeze([1, 2]))
            return self.classifier(self.pooler(x))

    state = paddle.get_rng_state()
    try:
        model = Classifier()
    finally:
        paddle.set_rng_state(state)
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        if "embeddings.weight" in name:  # small, as BERT's, so that training moves them
            scale = 0.03 if "word" in name else 0.01
        else:  # rows of a weight are inputs; more than 1, so that words matter beside [CLS]
            scale = 1.5 * parameter.shape[0] ** -0.5 if parameter.ndim > 1 else 0.1
        values = rng.normal(0, scale, parameter.shape)
        if "norm" in name and name.endswith("weight"):
            values += 1
        if "word_embeddings" in name:
            values[0] = 0  # [PAD], as the layer has it
        parameter.set_value(values.astype(np.float32))
    model.eval()  # returns nothing in Paddle 3.0
    model.class_names = tuple(f"class-{chr(97 + i)}" for i in range(classes))
    return model
