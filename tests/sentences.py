"""Small transformers trained on sentences, for tests that need a real text classifier.

    def test_something(planted_words):
        model, tokenizer, texts = planted_words.model, planted_words.tokenizer, planted_words.texts

`planted_words`: sentences of random words, some of which are good or bad. The more frequent kind is
the class, so it is known which words a model looks at: `planted`.
`one_planted_word`: likewise, with one such word at most, and a model of one layer.
`docstring_sentences`: sentences from the docstrings of four installed packages, and which it is.

Each is trained once. Weights, words and the sentences that were held out are kept in
`weights_folder`, under a name that changes with this file's text, the model's and the versions of
the packages.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interpretdl.testing import texts as _texts
from interpretdl.testing.texts import WordTokenizer, small_text_transformer
from tests.digits import weights_folder

Ids = NDArray[np.int64]

GOOD = ("bright", "clever", "fresh", "gentle", "lovely", "warm")
BAD = ("boring", "clumsy", "dull", "harsh", "stale", "weak")
NEUTRAL = (
    "the", "a", "and", "with", "of", "in", "on", "by", "near", "this", "that", "one", "two",
    "story", "film", "book", "song", "scene", "actor", "writer", "river", "house", "garden",
    "street", "table", "window", "letter", "night", "morning", "winter",
)  # fmt: skip
MOST_PLANTED = 2  # of a kind in a sentence
LOGIT = 1.5  # what a good word adds to the logit, and a bad one takes from it
LOGIT_OF_ONE = 3.0  # likewise where there is one
UNKNOWN = 4  # of the neutral words are not in the vocabulary

PACKAGES = {"numpy": "numpy", "sklearn": "scikit-learn", "skimage": "scikit-image"}
PACKAGES["matplotlib"] = "matplotlib"
NAMES = {*PACKAGES, "np", "scikit", "mpl", "plt", "pyplot"}  # as they stand in sentences
MOST = 4000  # sentences of a package
HELD = 1600  # sentences held out
VOCABULARY = 3000
_PLAIN = re.compile(r"[A-Z][A-Za-z ,;:'()`-]*[.]")


@dataclass(frozen=True)
class Trained:
    """A trained classifier, and sentences that it was not trained on.

    Attributes:
        model: in eval mode, with `class_names`; takes input_ids and token_type_ids, int64 [N, T].
        tokenizer: without padding.
        texts: N sentences.
        labels: int64 [N], their classes.
    """

    model: Any
    tokenizer: WordTokenizer
    texts: tuple[str, ...]
    labels: Ids


def encoded(tokenizer: WordTokenizer, texts: Sequence[str]) -> Ids:
    """Token ids, int64 [N, T], with [PAD] at the end."""
    rows = [tokenizer(text=text)["input_ids"] for text in texts]
    ids = np.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id, np.int64)
    for out, row in zip(ids, rows, strict=True):
        out[: len(row)] = row
    return ids


def train(
    model: Any,
    ids: Ids,
    labels: NDArray[Any],
    epochs: int,
    rate: float,
    decay: float,
    batch: int,
) -> None:
    """AdamW with a falling rate; labels int64 [N], or probabilities [N, K]. Ends in eval mode."""
    import paddle

    steps = epochs * (len(ids) // batch)
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(rate, steps)
    adam = paddle.optimizer.AdamW(schedule, parameters=model.parameters(), weight_decay=decay)
    loss, soft = paddle.nn.functional.cross_entropy, labels.ndim > 1
    rng, lengths = np.random.default_rng(1), (ids > 0).sum(axis=1)
    model.train()
    for _ in range(epochs):
        order = rng.permutation(len(ids))[: len(ids) // batch * batch]
        order = order[np.argsort(lengths[order], kind="stable")]  # little padding in a batch
        for rows in rng.permutation(order.reshape(-1, batch)):
            logits = model(paddle.to_tensor(ids[rows, : lengths[rows].max()]))
            loss(logits, paddle.to_tensor(labels[rows]), soft_label=soft).backward()
            adam.step()
            adam.clear_grad()
            schedule.step()
    model.eval()


# -- planted words --------------------------------------------------------------------------------


def random_sentences(n: int, seed: int, *, one: bool = False) -> tuple[list[str], Ids]:
    """Sentences of 6 to 14 words, and how many more good words than bad ones each has.

    Args:
        one: one good or bad word at most.
    """
    rng = np.random.default_rng(seed)
    texts, more = [], []
    for _ in range(n):
        good, bad = rng.integers(MOST_PLANTED + 1, size=2)
        if one:
            good, bad = ((1, 0), (0, 1), (0, 0))[rng.integers(3)]
        words = [*rng.choice(GOOD, good), *rng.choice(BAD, bad)]
        words += [*rng.choice(NEUTRAL, rng.integers(6, 15) - len(words))]
        texts.append(" ".join(rng.permutation(words)))
        more.append(good - bad)
    return texts, np.array(more, np.int64)


def planted(tokens: Sequence[str], label: int) -> Ids:
    """For each token 1 where it speaks for the label, -1 where it speaks for the other, else 0."""
    own, other = (GOOD, BAD) if label else (BAD, GOOD)
    return np.array([(token in own) - (token in other) for token in tokens], np.int64)


def _random_network(vocab: int, depth: int = 2) -> Any:
    model = small_text_transformer(vocab, max_len=32, depth=depth)
    model.class_names = ("bad", "good")
    return model


def _learn_random(*, one: bool = False) -> Trained:
    """The targets are probabilities, so that the logit is a count and each planted word matters.

    Trained on the classes alone, the model would be as sure of two good words as of one, and
    taking one of two away would change little.
    """
    tokenizer = WordTokenizer(GOOD + BAD + NEUTRAL[:-UNKNOWN])
    texts, more = random_sentences(4000, seed=0, one=one)
    good = 1 / (1 + np.exp(-(LOGIT_OF_ONE if one else LOGIT) * more))
    model = _random_network(tokenizer.vocab_size, 1 if one else 2)
    targets = np.stack([1 - good, good], axis=1).astype(np.float32)
    train(model, encoded(tokenizer, texts), targets, epochs=12, rate=1e-2, decay=0.2, batch=64)
    texts, more = random_sentences(600, seed=1, one=one)
    held = [text for text, each in zip(texts, more, strict=True) if each]
    return Trained(model, tokenizer, tuple(held), (more[more != 0] > 0).astype(np.int64))


# -- docstrings -----------------------------------------------------------------------------------


def docstring_texts(package: str) -> list[str]:
    """Sentences of 6 to 24 words without names of the packages, in the files' order."""
    spec = importlib.util.find_spec(package)
    root = Path(str(spec and spec.origin)).parent
    found: dict[str, None] = {}
    for file in sorted(root.rglob("*.py")):
        if "tests" in file.relative_to(root).parts:
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # templates, or written for another Python
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                found |= dict.fromkeys(_sentences(ast.get_docstring(node) or ""))
    return list(found)


def _sentences(docstring: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", docstring):
        for text in re.split(r"(?<=[.])\s+", " ".join(paragraph.split())):
            if not _PLAIN.fullmatch(text) or not 6 <= len(text.split()) <= 24:
                continue
            if not NAMES & set(WordTokenizer.split(text)):
                yield text


def _docstring_network(vocab: int) -> Any:
    model = small_text_transformer(vocab, classes=4, width=32, heads=4)
    model.class_names = tuple(PACKAGES.values())
    return model


def _learn_docstrings() -> Trained:
    rng = np.random.default_rng(0)
    sources = [docstring_texts(package) for package in PACKAGES]
    seen = Counter(text for source in sources for text in source)
    pairs: list[tuple[str, int]] = []
    for label, source in enumerate(sources):
        source = [text for text in source if seen[text] == 1]
        pairs += [(source[i], label) for i in rng.permutation(len(source))[:MOST]]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    texts, labels = [text for text, _ in pairs], np.array([label for _, label in pairs], np.int64)
    words = Counter(word for text in texts[HELD:] for word in WordTokenizer.split(text))
    tokenizer = WordTokenizer([word for word, _ in words.most_common(VOCABULARY)])
    model = _docstring_network(tokenizer.vocab_size)
    ids = encoded(tokenizer, texts[HELD:])
    train(model, ids, labels[HELD:], epochs=3, rate=3e-3, decay=1.0, batch=128)
    return Trained(model, tokenizer, tuple(texts[:HELD]), labels[:HELD])


# -- kept -----------------------------------------------------------------------------------------


def trained_on_planted_words(cache: Path | None = None) -> Trained:
    """The classifier of planted words; `cache` is a folder for its weights, None trains."""
    return _kept("planted", cache, _random_network, _learn_random)


def trained_on_one_planted_word(cache: Path | None = None) -> Trained:
    """The classifier of one planted word; `cache` as in `trained_on_planted_words`."""
    network, learn = partial(_random_network, depth=1), partial(_learn_random, one=True)
    return _kept("planted-one", cache, network, learn)


def trained_on_docstrings(cache: Path | None = None) -> Trained:
    """The classifier of docstrings; `cache` as in `trained_on_planted_words`."""
    versions = [version(name) for name in PACKAGES.values()]
    return _kept("docstrings", cache, _docstring_network, _learn_docstrings, versions)


def _kept(
    name: str,
    cache: Path | None,
    network: Callable[[int], Any],
    learn: Callable[[], Trained],
    versions: Sequence[str] = (),
) -> Trained:
    if cache is None:
        return learn()
    written = b"".join(Path(file).read_bytes() for file in (__file__, _texts.__file__))
    key = hashlib.sha256(written + " ".join(versions).encode()).hexdigest()[:16]
    file = cache / f"sentences-{name}-{key}.npz"
    if not file.is_file():
        found = learn()
        cache.mkdir(parents=True, exist_ok=True)
        mine = file.with_name(f".{os.getpid()}-{file.name}")  # tests may run in several processes
        tokens = found.tokenizer.convert_ids_to_tokens(range(found.tokenizer.vocab_size))
        weights = {key: value.numpy() for key, value in found.model.state_dict().items()}
        np.savez(mine, TOKENS=tokens, TEXTS=found.texts, LABELS=found.labels, **weights)
        os.replace(mine, file)
    with np.load(file) as state:
        kept = {key: state[key] for key in state.files}
    tokenizer = WordTokenizer(kept.pop("TOKENS").tolist())
    texts, labels = kept.pop("TEXTS").tolist(), kept.pop("LABELS")
    model = network(tokenizer.vocab_size)
    model.set_state_dict(kept)
    return Trained(model, tokenizer, tuple(texts), labels)


@pytest.fixture(scope="session")
def planted_words(request: pytest.FixtureRequest) -> Trained:
    """A classifier with the classes bad and good, and some 400 sentences."""
    return trained_on_planted_words(weights_folder(request))


@pytest.fixture(scope="session")
def one_planted_word(request: pytest.FixtureRequest) -> Trained:
    """A classifier with the classes bad and good, and some 400 sentences."""
    return trained_on_one_planted_word(weights_folder(request))


@pytest.fixture(scope="session")
def docstring_sentences(request: pytest.FixtureRequest) -> Trained:
    """A classifier of four packages, and 1,600 sentences."""
    return trained_on_docstrings(weights_folder(request))
