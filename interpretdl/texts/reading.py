"""How texts become a model's input: tokens, the words that they belong to, and what is padding."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, warn
from ..preprocessing import whole_number
from .words import Groups, units_of

__all__ = ["Text", "TextPreprocessing"]

Array = NDArray[Any]
Blank = Literal["pad", "unk", "mask", "zero"]


@dataclass(frozen=True)
class Text:
    """One text as a model is given it.

    Attributes:
        inputs: the model's arguments, one row each; the first are the token ids [1, T].
        tokens: T texts, one for each token.
        padding: bool [T].
        units: int64 [T], which of the words each token belongs to; -1 for special tokens and
            padding.
        words: the units' texts, as a person reads them.
        source: the text, or where it stood among arrays.
    """

    inputs: Any
    tokens: tuple[str, ...]
    padding: NDArray[np.bool_]
    units: NDArray[np.int64]
    words: tuple[str, ...]
    source: str

    @property
    def ids(self) -> NDArray[np.int64]:
        """Token ids, int64 [T]."""
        return np.asarray(_first(self.inputs)[0], np.int64)

    def with_ids(self, ids: NDArray[np.int64]) -> Any:
        """The model's arguments with other token ids [n, T], n rows each."""
        first = _first(self.inputs)

        def change(part: Array) -> Array:
            if part is first:
                return ids.astype(part.dtype)
            return np.broadcast_to(part, (len(ids), *part.shape[1:]))

        return _each(self.inputs, change)


@dataclass(frozen=True)
class TextPreprocessing:
    """How texts become a model's input; give it as `preprocessing=` to any method that explains
    texts.

        words = it.TextPreprocessing(tokenizer)
        lime = it.LIMEInterpreter(model, preprocessing=words)
        lime.explain("A film one does not forget").plot()

    Args:
        tokenizer: called as `tokenizer(text=…, max_seq_len=…)`, or with max_length and truncation
            where it has these, as PaddleNLP's and others do. It gives a mapping whose values, in
            order, are the model's arguments, each [T] or [1, T]; the first are the token ids.
        text_to_input_fn: in place of a tokenizer a function from a text to the model's arguments,
            an array, a tuple or a dict of arrays [1, T]; or to (arguments, tokens), where tokens
            are T texts.
        max_seq_len: most tokens; what a longer text has beyond is left out, with a warning.
        groups: what counts as one part of a text: "tokens", "words" or "sentences".
        embedding: name of the layer that gives the tokens' vectors, or its end; None finds it.
        baseline: what stands in the place of a word's vector where a method needs an input in which
            there is nothing: the vector of the token "pad", "unk" or "mask", or "zero". None: "pad"
            where that token is known, else "zero". Special tokens stay.
        fill: what stands in the place of a word that is taken out: "unk", "mask", "pad", or a token
            id. None: "unk" where that token is known, else "mask", else "pad".
        pad_id, unk_id, mask_id: these tokens' ids; None asks the tokenizer.
        special_ids: ids of tokens that are no words, such as [CLS] and [SEP]; None asks the
            tokenizer.

    Raises:
        InputError: not just one of tokenizer and text_to_input_fn (both may be left out where token
            ids are explained), or an option that does not fit.
    """

    tokenizer: Any = None
    text_to_input_fn: Callable[[str], Any] | None = None
    max_seq_len: int = 128
    groups: Groups = "words"
    embedding: str | None = None
    baseline: Blank | None = None
    fill: Literal["unk", "mask", "pad"] | int | None = None
    pad_id: int | None = None
    unk_id: int | None = None
    mask_id: int | None = None
    special_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.tokenizer is not None and self.text_to_input_fn is not None:
            raise InputError("give tokenizer or text_to_input_fn, not both")
        for name in ("tokenizer", "text_to_input_fn"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise InputError(f"{name} must be a function of a text; got {type(given).__name__}")
        whole_number(self.max_seq_len, "max_seq_len")
        self._need("groups", get_args(Groups))
        self._need("baseline", (None, *get_args(Blank)))
        if isinstance(self.fill, str) or self.fill is None:
            self._need("fill", (None, "unk", "mask", "pad"))
        else:
            whole_number(self.fill, "fill", 0)
        for name in ("pad_id", "unk_id", "mask_id"):
            if getattr(self, name) is not None:
                whole_number(getattr(self, name), name, 0)

    def _need(self, name: str, known: Sequence[Any]) -> None:
        if getattr(self, name) not in known:
            names = ", ".join(repr(each) for each in known)
            raise InputError(f"{name} must be one of {names}; got {getattr(self, name)!r}")

    # -- reading ----------------------------------------------------------------------------------

    def read(self, raw: str) -> Text:
        """A text as the model is given it.

        Raises:
            InputError: there is no way from texts to token ids, or it gives something else.
        """
        if not raw.strip():
            raise InputError(f"the text {raw!r} is empty")
        if self.text_to_input_fn is not None:
            inputs, tokens = _with_tokens(self.text_to_input_fn(raw))
        elif self.tokenizer is not None:
            inputs, tokens = self._encoded(raw, self.max_seq_len), None
        else:
            raise InputError(
                "a text was given and nothing that turns it into token ids; give tokenizer= or "
                "text_to_input_fn=, as TextPreprocessing has them"
            )
        text = self.of_arrays(inputs, raw, tokens)
        if self.tokenizer is not None and (~text.padding).sum() >= self.max_seq_len:
            longer = self.of_arrays(self._encoded(raw, self.max_seq_len + 16), raw)
            if (~longer.padding).sum() > (~text.padding).sum():
                warn(
                    f"the text {reprlib.repr(raw)} is longer than max_seq_len={self.max_seq_len} "
                    "tokens; what comes after them is neither read nor explained"
                )
        return text

    def of_arrays(self, inputs: Any, source: str, tokens: Sequence[str] | None = None) -> Text:
        """A text whose token ids are known.

        Args:
            inputs: the model's arguments, an array, or a tuple, list or dict of arrays, each [T] or
                [1, T].
            source: what to call it.
            tokens: T texts; None asks the tokenizer, or takes the ids.

        Raises:
            InputError: the first argument is no array of token ids, or there is no word.
        """
        if isinstance(inputs, list) and inputs and np.ndim(inputs[0]):
            inputs = tuple(inputs)
        batched = np.ndim(_first(inputs)) > 1
        inputs = _each(inputs, lambda part: _row(part, source, batched))
        first = _first(inputs)
        if first.ndim != 2 or first.dtype.kind not in "iu":
            raise InputError(
                f"the model's first argument must be token ids, integers [1, T], for "
                f"{reprlib.repr(source)}; got {first.dtype} {list(first.shape)}"
            )
        ids = first[0].astype(np.int64)
        tokens = self._tokens(ids) if tokens is None else tuple(map(str, tokens))
        if len(tokens) != len(ids):
            raise InputError(f"{len(ids)} token ids and {len(tokens)} tokens were given")
        pad = self.id_of("pad")
        padding = np.zeros(len(ids), bool) if pad is None else ids == pad
        special = np.isin(ids, list(self._special())) | padding
        units, words = units_of(tokens, special, self.groups)
        if not words:
            raise InputError(f"the text {reprlib.repr(source)} has no word, only special tokens")
        return Text(inputs, tuple(tokens), padding, units, words, source)

    def _encoded(self, raw: str, length: int) -> Any:
        """What the tokenizer gives of a text."""
        known = _parameters(self.tokenizer)
        options: dict[str, Any] = {}
        if "max_seq_len" in known or (known and "max_length" not in known and "**" in known):
            options = {"max_seq_len": length}
        elif "max_length" in known:
            options = {"max_length": length, "truncation": True}
        found = self.tokenizer(text=raw, **options)
        if not isinstance(found, Mapping) and not hasattr(found, "items"):
            raise InputError(
                "the tokenizer must give a mapping, such as {'input_ids': [...]}; got "
                f"{type(found).__name__}. Give text_to_input_fn= instead"
            )
        return tuple(value for _, value in found.items())

    def _tokens(self, ids: NDArray[np.int64]) -> tuple[str, ...]:
        convert = getattr(self.tokenizer, "convert_ids_to_tokens", None)
        return tuple(str(each) for each in (convert(ids.tolist()) if convert else ids.tolist()))

    # -- tokens that are no words -----------------------------------------------------------------

    def id_of(self, name: str) -> int | None:
        """Id of the token "pad", "unk" or "mask"; None where it is not known."""
        own = getattr(self, f"{name}_id")
        found = getattr(self.tokenizer, f"{name}_token_id", None) if own is None else own
        return None if found is None else int(found)

    def _special(self) -> set[int]:
        """Ids of tokens that are no words."""
        if self.special_ids is not None:
            return set(map(int, self.special_ids))
        known = set(map(int, getattr(self.tokenizer, "all_special_ids", None) or ()))
        for name in ("pad", "cls", "sep", "bos", "eos", "mask"):
            one = getattr(self.tokenizer, f"{name}_token_id", None)
            known |= set() if one is None else {int(one)}
        return known - {self.id_of("unk")}  # it stands for a word

    def filled(self, text: Text) -> NDArray[np.int64]:
        """Token ids [T] of a text with all words taken out.

        Raises:
            InputError: it is not known which token stands for nothing.
        """
        names = [self.fill] if isinstance(self.fill, str) else ["unk", "mask", "pad"]
        known = [token for name in names if (token := self.id_of(name)) is not None]
        token = self.fill if isinstance(self.fill, int) else known[0] if known else None
        if token is None:
            raise InputError(
                "it is not known which token stands where a word is taken out; give "
                "TextPreprocessing(fill=…) a token id, or unk_id="
            )
        return np.where(text.units < 0, text.ids, token)

    def blank(self, text: Text) -> NDArray[np.int64] | None:
        """Token ids [T] whose vectors are the baseline's; None: zeros in the words' places.

        Raises:
            InputError: the token that was asked for is not known.
        """
        name = self.baseline or ("zero" if self.id_of("pad") is None else "pad")
        if name == "zero":
            return None
        token = self.id_of(name)
        if token is None:
            raise InputError(
                f"baseline={name!r} needs that token's id; give TextPreprocessing({name}_id=…)"
            )
        return np.where(text.units < 0, text.ids, token)

    def with_options(self, **options: Any) -> TextPreprocessing:
        """The same with other options."""
        return replace(self, **options)


def _parameters(function: Any) -> set[str]:
    """Names of a function's parameters; "**" where it takes any."""
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {"**" if p.kind is p.VAR_KEYWORD else p.name for p in known}


def _with_tokens(found: Any) -> tuple[Any, Sequence[str] | None]:
    """Arguments and tokens of what a text_to_input_fn gives."""
    if isinstance(found, tuple | list) and len(found) == 2:
        tokens = found[1]
        if isinstance(tokens, list | tuple) and tokens and isinstance(tokens[0], list | tuple):
            tokens = tokens[0]
        if isinstance(tokens, list | tuple) and tokens and isinstance(tokens[0], str):
            return found[0], list(tokens)
    return found, None


def _each(inputs: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(inputs, dict):
        return {name: change(part) for name, part in inputs.items()}
    return tuple(map(change, inputs)) if isinstance(inputs, tuple) else change(inputs)


def _first(inputs: Any) -> Array:
    if isinstance(inputs, dict):
        inputs = tuple(inputs.values())
    found: Array = inputs[0] if isinstance(inputs, tuple) else inputs
    return found


def _row(part: Any, source: str, batched: bool) -> Array:
    """An argument of one text as an array of one row; what is [1] beside ids [1, T] is one."""
    array = np.asarray(part.numpy() if hasattr(part, "numpy") else part)
    if array.dtype.kind not in "iufb":
        raise InputError(
            f"the model's arguments for {reprlib.repr(source)} must be numbers; got {array.dtype}"
        )
    if array.ndim < 2 and not (batched and array.shape == (1,)):
        array = array[None]
    if len(array) != 1 or array.size == 0:
        raise InputError(
            f"the model's arguments for {reprlib.repr(source)} must have one row, [T] or [1, T]; "
            f"got {list(array.shape)}"
        )
    return array
