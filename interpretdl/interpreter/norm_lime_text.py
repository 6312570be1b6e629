"""NormLIME of texts: which words speak for a class, from LIME on many texts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data_processor.files import check_writable
from ..errors import InputError, warn
from ..progress import progress_bar
from ..subject import Subject
from ..texts import Text
from .global_weights import gathered, save_dictionary
from .lime_compat import Results
from .lime_text import LIMENLPInterpreter
from .norm_lime import Kept, free_path
from .sampling import counts
from .text_compat import TextFunction

__all__ = ["NormLIMENLPInterpreter", "WordWeights"]

WordWeights = dict[int, dict[int, tuple[float, int]]]
"""{class: {token id: (weight, count)}}"""


class NormLIMENLPInterpreter(LIMENLPInterpreter):
    """NormLIME of texts: mean weight of words for each class, with InterpretDL's arguments.

        weight of token t for class y = mean of w² / Σ_j |w_j| over the occurrences of t with w > 0
        in texts whose likeliest class is y

    w are LIME's weights of a text, and the sum is over the text's tokens. Tokens are told apart by
    their ids, wherever they stand; special tokens do not count. See Ahern et al., NormLIME, 2019,
    https://arxiv.org/abs/1909.04200.

    Attributes:
        all_lime_weights: LIME's results by text, see `LIMENLPInterpreter.lime_results`.
    """

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        list_of_raw_text: Sequence[str] | str,
        preprocess_fn: TextFunction | None = None,
        num_samples: int = 1000,
        batch_size: int = 50,
        unk_id: int = 0,
        pad_id: int | None = 0,
        lod_levels: Any = None,
        save_path: str | os.PathLike[str] | None = "normlime_weights.npy",
        temp_data_file: str | os.PathLike[str] | None = "all_lime_weights.npz",
        *,
        tokenizer: Any = None,
        max_seq_len: int | None = None,
    ) -> WordWeights:
        """Explain each text by LIME for its likeliest class, and average.

        Args:
            list_of_raw_text: the texts. One that comes again counts once; one without a word is
                left out with a warning.
            preprocess_fn: from a text to the model's arguments, as `text_to_input_fn=` of
                `explain`.
            num_samples, batch_size, unk_id, pad_id: see `LIMENLPInterpreter.interpret`.
            lod_levels: ignored; Paddle's tensors have no such levels any more. Deprecated.
            save_path: where the weights are saved, a .npy file; where there is such a file, "-0",
                "-1" and so on is put behind its name. None: they are not saved.
            temp_data_file: a .npz file in which LIME's results are kept meanwhile, also on Ctrl-C.
                What it has of these texts, this model and these options is not computed again.
                None: there is none.
            tokenizer: in place of preprocess_fn.
            max_seq_len: see `explain`.

        Returns:
            {class: {token id: (weight, count)}}, with the number of occurrences of w > 0.

        Raises:
            InputError: no text, or an option or a file that does not fit. ResourceError: a place
                that cannot be written.
        """
        counts(num_samples=num_samples, batch_size=batch_size)
        if lod_levels is not None:
            warnings.warn("lod_levels= is ignored", DeprecationWarning, stacklevel=2)
        raw = [list_of_raw_text] if isinstance(list_of_raw_text, str) else list(list_of_raw_text)
        if not raw or not all(isinstance(each, str) for each in raw):
            raise InputError(f"list_of_raw_text must be texts; got {len(raw)} items: {raw[:2]!r}")
        subject = self._subject(tokenizer, preprocess_fn, max_seq_len, unk_id, pad_id)
        known = subject.text
        if known is None or (known.tokenizer is None and known.text_to_input_fn is None):
            raise InputError("give preprocess_fn= or tokenizer=, which turn a text into token ids")
        if save_path is not None:
            save_path = free_path(os.fspath(save_path))
            check_writable(save_path, (".npy",))
        made = (self.model, num_samples, self.random_seed)
        kept = Kept(temp_data_file, *made, check=_checked)
        self.all_lime_weights: dict[str, Results] = {}
        every: list[Results] = []
        bar: Any
        try:
            with progress_bar(len(raw), "norm lime", "text") as bar:
                for text in raw:
                    if text not in self.all_lime_weights:
                        results = self._one(subject, text, kept, num_samples, batch_size)
                        if results is not None:
                            self.all_lime_weights[text] = results
                    bar.update()
        finally:
            kept.save()
        every = list(self.all_lime_weights.values())
        if not every:
            raise InputError(f"none of {len(raw)} texts could be explained")
        self.lime_results = every[-1]
        sizes = gathered(every, [each["ids"] for each in every], positive=True)
        weights = {
            label: {token: (sum(w) / len(w), len(w)) for token, w in sorted(each.items())}
            for label, each in sorted(sizes.items())
        }
        if save_path is not None:
            save_dictionary(save_path, dict(weights))
            print(f"NormLIME's weights are in {save_path}")
        return weights

    def _one(
        self, subject: Subject, raw: str, kept: Kept, num_samples: int, batch_size: int
    ) -> Results | None:
        """LIME's results on a text, from the file or computed; None if there can be none."""
        try:
            text = subject.read(raw).texts[0]
        except InputError as error:
            warn(f"a text is left out: {error}")
            return None
        blank = subject.text.filled(text) if subject.text is not None else text.ids
        results = kept.get(raw, lambda entry: _fits(entry, text, blank))
        if results is None:
            results = self._results(subject, [text], None, num_samples, batch_size)[0][0]
            kept.put(raw, results)
        words = set(np.flatnonzero(text.units >= 0).tolist())
        weights = {
            label: [pair if pair[0] in words else (pair[0], 0.0) for pair in pairs]
            for label, pairs in results["lime_weights"].items()
        }
        return {**results, "lime_weights": weights, "ids": text.ids}


def _fits(entry: Mapping[str, Any], text: Text, blank: Any) -> bool:
    """Whether an entry is of this text; InterpretDL's say nothing but positions."""
    highest = max(j for pairs in entry["lime_weights"].values() for j, _ in pairs)
    same = all(
        name not in entry or np.array_equal(entry[name], ids)
        for name, ids in (("ids", text.ids), ("blank", blank))
    )
    return same and highest < len(text.ids)


def _checked(given: Any, where: str) -> dict[str, Any]:
    """LIME's results on a text as a file has them, looked at.

    Raises:
        InputError: they are none.
    """
    given = given.item() if isinstance(given, np.ndarray) and given.shape == () else given
    try:
        weights = {
            int(label): [(int(position), float(weight)) for position, weight in pairs]
            for label, pairs in given["lime_weights"].items()
        }
        if min(position for pairs in weights.values() for position, _ in pairs) < 0:
            raise ValueError("a position is below 0")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where} is no result of LIME on a text, which has 'lime_weights' {{class: "
            f"[(position, weight)]}}: {error}"
        ) from error
    return {**given, "lime_weights": weights}
