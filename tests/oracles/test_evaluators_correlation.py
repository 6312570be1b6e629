"""Faithfulness estimate, sensitivity-n and monotonicity correlation: linear models, plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from scipy import stats

import interpretdl as it
from interpretdl import evaluator as ev
from interpretdl.errors import InputError
from interpretdl.preprocessing import Preprocessing
from interpretdl.testing.texts import WordTokenizer

RNG = np.random.default_rng(0)
W = RNG.normal(size=(2, 3 * 8 * 8)).astype(np.float32)
X = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
EACH: Any = [
    (ev.FaithfulnessEstimate, {"gradient_of": "logit"}),
    (ev.SensitivityN, {"n_samples": 20}),
    (ev.MonotonicityCorrelation, {}),
]


class Net(paddle.nn.Layer):
    """[w₀ · x, w₁ · x], or the same of x²."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power, self.weights = power, paddle.to_tensor(W)
        self.preprocessing = Preprocessing(None, None, (0.0,) * 3, (1.0,) * 3)

    def forward(self, x: Any) -> Any:
        return (x**self.power).flatten(1) @ self.weights.T


def exact(base: float = 0.0) -> Any:
    return W[1].reshape(3, 8, 8) * (X - base)


def cells(patch: int) -> Any:
    """The patches' numbers, [8, 8], by a loop."""
    found = np.zeros((8, 8), int)
    for y, x in np.ndindex(8, 8):
        found[y, x] = y // patch * -(-8 // patch) + x // patch
    return found


# -- linear models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", [1, 3, 4])
@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_the_exact_attribution_of_a_linear_model_is_perfect(patch: int, fill: float) -> None:
    for cls, options in EACH[:2]:
        for factor in (1, 7):
            judge = cls(Net(), patch=patch, fill=fill, **options)
            found = judge.measure(X, factor * exact(fill), labels=1, signed=True)
            assert found.values == pytest.approx([1, 1], abs=1e-5)
            found = judge.measure(X, -factor * exact(fill), labels=1, signed=True)
            assert found.values == pytest.approx([-1, -1], abs=1e-5)


def test_the_effect_of_a_linear_model_is_known() -> None:
    """With constant colours moved by a whole picture nothing changes; with two halves all does."""
    x = np.zeros((1, 3, 8, 8), np.float32)
    x[..., 4:] = 1
    judge = ev.MonotonicityCorrelation(Net(), patch=1, n_samples=40)
    # A pixel changes by ±1 in all channels with a chance that is the same for all pixels of a half,
    # and of both halves: E = c · (Σ_channels w)².
    size = np.abs(W[1].reshape(3, 8, 8).sum(axis=0))[None]
    assert judge.measure(x, size, labels=1, signed=False).values[0] > 0.95
    assert judge.measure(x, -size, labels=1, signed=True).values[0] > 0.95  # its sign is no matter
    assert judge.measure(x, 1 / size, labels=1, signed=False).values[0] < -0.95
    other = RNG.permutation(size.ravel()).reshape(size.shape)
    assert abs(judge.measure(x, other, labels=1, signed=False).values[0]) < 4 / np.sqrt(63)


# -- plain loops -----------------------------------------------------------------------------------


def score(x: Any, label: int, of: str = "logit") -> float:
    logits = W.astype(np.float64) @ (x.astype(np.float64) ** 3).ravel()
    if of == "logit":
        return float(logits[label])
    return float(1 / (1 + np.exp(logits[1 - label] - logits[label])))


def without(x: Any, gone: Any) -> Any:
    """The picture with the mean of each channel where `gone` [H, W]."""
    found = x.copy()
    for channel in range(3):
        found[channel][gone] = x[channel].mean()
    return found


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_faithfulness_estimate_by_a_loop(of: Any) -> None:
    x, values, regions = 0.2 * X, RNG.normal(size=X.shape), cells(3)
    found = ev.FaithfulnessEstimate(Net(3), patch=3, gradient_of=of).measure(
        x, values.astype(np.float32), labels=[0, 1], signed=True
    )
    for i in range(2):
        told, lost = [], []
        for k in range(9):
            told.append(values[i].sum(axis=0)[regions == k].sum())
            lost.append(score(x[i], i, of) - score(without(x[i], regions == k), i, of))
        assert found.values[i] == pytest.approx(np.corrcoef(told, lost)[0, 1], abs=1e-4)


def test_sensitivity_n_by_a_loop() -> None:
    x, values, regions = 0.5 * X, RNG.normal(size=X.shape), cells(2)
    shares = (0.5, 0.1, 0.01)
    judge = ev.SensitivityN(Net(3), patch=2, shares=shares, n_samples=30, seed=5)
    found = judge.measure(x, values.astype(np.float32), labels=1, signed=True)
    assert found.axis.tolist() == [0.01, 0.1, 0.5]
    for i in range(2):
        sets = judge._sets(i, 16, np.array([1, 2, 8])).reshape(3, 30, 16)
        assert sets.sum(axis=2).tolist() == [[1] * 30, [2] * 30, [8] * 30]
        for k in range(3):
            told, lost = [], []
            for chosen in sets[k]:
                gone = np.isin(regions, np.flatnonzero(chosen))
                told.append(values[i].sum(axis=0)[gone].sum())
                lost.append(score(x[i], 1) - score(without(x[i], gone), 1))
            expected = np.corrcoef(told, lost)[0, 1]
            assert found.curves["correlation"][i, k] == pytest.approx(expected, abs=1e-4)
    assert found.values == pytest.approx(found.curves["correlation"].mean(axis=1))


def test_sets_are_uniform() -> None:
    sets = ev.SensitivityN(n_samples=4000)._sets(3, 10, np.array([3]))
    assert sets.shape == (4000, 10)
    assert set(sets.sum(axis=1)) == {3}
    assert np.abs(sets.mean(axis=0) - 0.3).max() < 4 * np.sqrt(0.3 * 0.7 / 4000)


def test_monotonicity_correlation_by_a_loop() -> None:
    values, regions = RNG.normal(size=X.shape), cells(4)
    judge = ev.MonotonicityCorrelation(Net(3), patch=4, n_samples=3, seed=2)
    found = judge.measure(X, values.astype(np.float32), labels=1, signed=True)
    for i in range(2):
        rng, effect = np.random.default_rng([2, i]), np.zeros(4)
        for _ in range(3):
            down, right = divmod(int(rng.integers(1, 64)), 8)
            moved = np.empty_like(X[i])
            for y, z in np.ndindex(8, 8):
                moved[:, (y + down) % 8, (z + right) % 8] = X[i][:, y, z]
            for k in range(4):
                changed = np.where(regions == k, moved, X[i])
                effect[k] += (score(changed, 1) - score(X[i], 1)) ** 2
        told = [abs(values[i].sum(axis=0)[regions == k].sum()) for k in range(4)]
        assert found.values[i] == pytest.approx(stats.spearmanr(told, effect).statistic)


# -- what has no value -----------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "options"), EACH)
def test_a_model_that_looks_at_nothing(cls: Any, options: Any) -> None:
    net = Net()
    net.weights = 0 * net.weights
    found = cls(net, **options).measure(X, exact(), labels=1, signed=True)
    assert list(found.flags) == [0, 1]
    assert "same for all patches" in found.flags[0]


def test_sizes_at_which_nothing_differs_are_left_out() -> None:
    """One pixel has all relevance, and of five sets of one pixel none has it."""
    heat = np.zeros((1, 8, 8), np.float32)
    judge = ev.SensitivityN(Net(), patch=1, shares=(0.01, 0.5), n_samples=5)
    missed = int(np.flatnonzero(~judge._sets(0, 64, np.array([1, 32]))[:5].any(axis=0))[0])
    heat[0].ravel()[missed] = 1
    found = judge.measure(X[:1], heat, labels=1, signed=True)
    curve = found.curves["correlation"][0]
    assert np.isnan(curve[0])
    assert found.values[0] == curve[1]
    found.plot()  # without a warning


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (ev.SensitivityN, {"shares": ()}),
        (ev.SensitivityN, {"shares": (0.0, 0.5)}),
        (ev.SensitivityN, {"shares": (1.0,)}),
        (ev.SensitivityN, {"n_samples": 1}),
        (ev.MonotonicityCorrelation, {"n_samples": 0}),
        (ev.FaithfulnessEstimate, {"patch": 0}),
        (ev.ROAD, {"shares": (0.5, 1.5)}),
        (ev.ROAD, {"patch": 0}),
    ],
)
def test_options_that_do_not_fit(cls: Any, options: Any) -> None:
    with pytest.raises(InputError):
        cls(**options)


# -- texts -----------------------------------------------------------------------------------------


class BagOfWords(paddle.nn.Layer):
    """Logits [s, −s] / 2, s the sum of the words' weights, which are their ids less 5."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.word_embeddings = paddle.nn.Embedding(size, 1)
        table = np.arange(size, dtype=np.float32)[:, None] - 5
        table[: size - 6] = 0
        self.word_embeddings.weight.set_value(table)

    def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
        total = self.word_embeddings(input_ids).sum(axis=1)
        return paddle.concat([total, -total], axis=1) / 2


def test_words() -> None:
    words = ["one", "two", "three", "four", "five", "six"]
    tokenizer = WordTokenizer(words)
    model, read = BagOfWords(tokenizer.vocab_size), it.TextPreprocessing(tokenizer)
    texts = [" ".join(words), "six one six two", "two"]
    table = model.word_embeddings.weight.numpy()[:, 0]
    ids = [[tokenizer.convert_tokens_to_ids(word) for word in text.split()] for text in texts]
    values = np.zeros((3, 8))
    for row, each in zip(values, ids, strict=True):
        row[1 : len(each) + 1] = table[each]
    for cls, options in EACH[:2]:
        found = cls(model, preprocessing=read, **options).measure(
            texts, values, labels=0, signed=True
        )
        assert found.values[:2] == pytest.approx([1, 1], abs=1e-5)
        assert list(found.flags) == [2]  # a single word has no order
    judge = ev.MonotonicityCorrelation(model, preprocessing=read, n_samples=20)
    found = judge.measure(texts[:2], values[:2], labels=0, signed=True)
    assert (np.abs(found.values) <= 1).all()


class Sure(Net):
    """Class 1 has the probability 1 but for a few roundings, whatever the picture."""

    def forward(self, x: Any) -> Any:
        return 0.05 * super().forward(x) + paddle.to_tensor([0.0, 15.6])


def test_rounding_is_no_effect() -> None:
    target = it.ClassScore([1] * 4, "probability")
    scores = it.Probe(Sure()).scores(np.concatenate([X, 0 * X]), target)
    assert 0 < np.ptp(scores) < 1e-6
    for cls in (ev.FaithfulnessEstimate, ev.SensitivityN, ev.LocalFidelity):
        judge = cls(Sure(), patch=2, fill=0.0, gradient_of="probability")
        found = judge.measure(X, exact(), labels=1, signed=True)
        assert np.isnan(found.values).all()
        assert "the score is the same" in found.flags[0]
