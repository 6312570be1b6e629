"""Evaluators of texts against plain NumPy, on a bag of words whose weights are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.registry import EVALUATORS
from interpretdl.testing.texts import WordTokenizer, small_text_transformer

WEIGHTS = {
    **{"good": 2.0, "fine": 1.0, "warm": 0.5, "so": 0.25, "a": 0.0625, "film": 0.125},
    **{"dull": -1.5, "bad": -2.5, "slow": -0.75},
}
TOKENIZER = WordTokenizer(WEIGHTS)
READ = it.TextPreprocessing(TOKENIZER)
# Four, five, seven and nine words.
TEXTS = [
    "a good warm film",
    "so bad a slow film",
    "a fine film so good so",
    "bad dull slow a film so good fine warm",
]
EVALUATED = sorted(n for n, i in EVALUATORS.all().items() if "text" in i.inputs)
STEPS = 8


class BagOfWords(paddle.nn.Layer):
    """Logits [s, −s] / 2 with s the sum of the words' weights; their softmax is σ(s)."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = paddle.nn.Embedding(TOKENIZER.vocab_size, 1)
        table = np.zeros((TOKENIZER.vocab_size, 1), np.float32)
        for word, weight in WEIGHTS.items():
            table[TOKENIZER.convert_tokens_to_ids(word)] = weight
        self.word_embeddings.weight.set_value(table)

    def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
        total = self.word_embeddings(input_ids).sum(axis=1)
        return paddle.concat([total, -total], axis=1) / 2


@pytest.fixture
def model() -> BagOfWords:
    return BagOfWords()


# -- plain NumPy -----------------------------------------------------------------------------------


def weights(text: str) -> np.ndarray:
    return np.array([WEIGHTS[word] for word in text.split()])


def probability(kept: np.ndarray) -> float:
    return float(1 / (1 + np.exp(-kept.sum())))


def gone(words: int, steps: int) -> list[int]:
    """How many words are out at each point."""
    return sorted({int(np.rint(words * k / steps)) for k in range(steps + 1)})


def curve(w: np.ndarray, order: np.ndarray, steps: int, insert: bool = False) -> np.ndarray:
    """The probability while words go, or come, in an order."""
    points = []
    for count in gone(len(w), steps):
        kept = np.zeros(len(w), bool)
        kept[order[:count]] = True
        points.append(probability(w[kept if insert else ~kept]))
    return np.array(points)


def area(points: np.ndarray, axis: np.ndarray) -> float:
    return float(((points[1:] + points[:-1]) / 2 * np.diff(axis)).sum())


def as_values(rows: list[np.ndarray]) -> np.ndarray:
    """Values of words at their tokens, [N, T]: [CLS] stands before them."""
    values = np.zeros((len(rows), 2 + max(map(len, rows))), np.float32)
    for value, row in zip(values, rows, strict=True):
        value[1 : 1 + len(row)] = row
    return values


TRUE = [weights(text) for text in TEXTS]
VALUES = as_values(TRUE)


def measure(cls: Any, model: Any, values: Any = VALUES, **options: Any) -> it.Evaluation:
    found = cls(model, preprocessing=READ, **options).measure(TEXTS, values, 0, signed=True)
    assert isinstance(found, it.Evaluation)
    return found


# -- curves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [it.Deletion, it.Insertion], ids=["deletion", "insertion"])
def test_curves_and_areas(cls: Any, model: Any) -> None:
    found = measure(cls, model, steps=STEPS)
    (drawn,) = found.curves.values()
    assert found.axis.tolist() == [k / STEPS for k in range(STEPS + 1)]
    assert found.axis_label == "share of the words"
    for i, w in enumerate(TRUE):
        points = curve(w, np.argsort(-w, kind="stable"), STEPS, cls is it.Insertion)
        axis = np.array(gone(len(w), STEPS)) / len(w)
        assert found.values[i] == pytest.approx(area(points, axis), abs=1e-6)
        np.testing.assert_allclose(drawn[i], np.interp(found.axis, axis, points), atol=1e-6)


def test_perturbation_and_its_aopc(model: Any) -> None:
    found = measure(it.Perturbation, model, steps=100)
    for i, w in enumerate(TRUE):
        most, axis = curve(w, np.argsort(-w), 100), np.arange(len(w) + 1) / len(w)
        least = curve(w, np.argsort(w), 100)
        assert found.parts["MoRF"][i] == pytest.approx(area(most, axis), abs=1e-6)
        assert found.parts["LeRF"][i] == pytest.approx(area(least, axis), abs=1e-6)
        assert found.parts["AOPC"][i] == pytest.approx(np.mean(most[0] - most), abs=1e-6)
    assert found.values == pytest.approx(found.parts["LeRF"] - found.parts["MoRF"])


def test_deletion_and_insertion_together_and_monotonicity(model: Any) -> None:
    both = measure(it.DeletionInsertion, model)
    assert both.parts["deletion"] == pytest.approx(measure(it.Deletion, model).values)
    assert both.parts["insertion"] == pytest.approx(measure(it.Insertion, model).values)
    # Put in from the smallest weight on: the score falls at each word that speaks against.
    found = measure(it.Monotonicity, model, steps=100)
    assert found.parts["share"] == pytest.approx([(w >= 0).mean() for w in TRUE])
    assert found.values.tolist() == [(w >= 0).all() for w in TRUE]


def test_true_weights_beat_every_other_order(model: Any) -> None:
    """A monotone function of a sum: no order of removal has a smaller area."""
    best = measure(it.Deletion, model, steps=100).values
    reverse = measure(it.Deletion, model, as_values([-w for w in TRUE]), steps=100).values
    assert (best < reverse - 0.1).all()
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = as_values([rng.permutation(len(w)) + 1.0 for w in TRUE])
        other = measure(it.Deletion, model, order, steps=100).values
        assert (best <= other + 1e-6).all()
        assert (other <= reverse + 1e-6).all()


# -- comprehensiveness and sufficiency -------------------------------------------------------------


@pytest.mark.parametrize("bins", [(0.01, 0.05, 0.1, 0.2, 0.5), (1.0,), (0.5, 0.25)])
def test_comprehensiveness_and_sufficiency(bins: tuple[float, ...], model: Any) -> None:
    without = measure(it.Comprehensiveness, model, bins=bins)
    alone = measure(it.Sufficiency, model, bins=bins)
    assert without.higher_is_better
    assert not alone.higher_is_better
    assert without.axis.tolist() == sorted(bins)
    for i, w in enumerate(TRUE):
        order, lost, kept = np.argsort(-w, kind="stable"), [], []
        for share in sorted(bins):
            count = max(1, int(np.rint(share * len(w))))
            lost.append(probability(w) - probability(np.delete(w, order[:count])))
            kept.append(probability(w) - probability(w[order[:count]]))
        np.testing.assert_allclose(without.curves["score lost"][i], lost, atol=1e-6)
        np.testing.assert_allclose(alone.curves["score lost"][i], kept, atol=1e-6)
        assert without.values[i] == pytest.approx(np.mean(lost), abs=1e-6)
        assert alone.values[i] == pytest.approx(np.mean(kept), abs=1e-6)


def test_all_words_leave_nothing_to_lose(model: Any) -> None:
    assert measure(it.Sufficiency, model, bins=(1.0,)).values == pytest.approx(0, abs=1e-7)
    whole = [probability(w) - 0.5 for w in TRUE]
    lost = measure(it.Comprehensiveness, model, bins=(1.0,)).values
    assert lost == pytest.approx(whole, abs=1e-6)
    with pytest.raises(it.InputError, match="bins"):
        it.Sufficiency(model, bins=(0.0, 0.5))


def test_pictures_by_hand() -> None:
    """Four pixels of a linear model, one patch each; the rest is zero."""
    picture = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(4, 2))
    picture[1].weight.set_value(np.array([[4, 3, 2, 1], [0] * 4], np.float32).T)
    picture[1].bias.set_value(np.zeros(2, np.float32))
    x, heat = np.ones((1, 1, 2, 2), np.float32), np.array([[[4.0, 3.0], [2.0, 1.0]]])
    options: dict[str, Any] = {"patch": 1, "fill": 0.0, "gradient_of": "logit", "bins": (0.2, 0.5)}
    lost = it.Comprehensiveness(picture, **options).measure(x, heat, 0)
    assert lost.curves["score lost"].tolist() == [[4, 7]]
    left = it.Sufficiency(picture, **options).measure(x, heat, 0)
    assert left.curves["score lost"].tolist() == [[6, 3]]
    assert (lost.values.tolist(), left.values.tolist()) == ([5.5], [4.5])


# -- agreement with the score ----------------------------------------------------------------------


def test_infidelity_of_every_run_of_words(model: Any) -> None:
    """True weights foretell the logit; with wrong ones the mean square is NumPy's."""
    options: dict[str, Any] = {"gradient_of": "logit", "normalize": False, "n_samples": None}
    # The first logit is half of the sum.
    halves = measure(it.Infidelity, model, VALUES / 2, **options)
    assert halves.values == pytest.approx(0, abs=1e-10)
    whole = measure(it.Infidelity, model, VALUES, **options)
    for i, w in enumerate(TRUE):
        runs = [w[s : s + k].sum() for k in range(1, 6) for s in range(len(w) - k + 1)]
        assert whole.values[i] == pytest.approx(np.mean(np.square(runs)) / 4, rel=1e-5)
    scaled = measure(it.Infidelity, model, VALUES, **{**options, "normalize": True})
    assert scaled.values == pytest.approx(0, abs=1e-10)
    assert np.isfinite(measure(it.Infidelity, model, n_samples=3).values).all()
    for wrong in ({"perturbation": "noise"}, {"unit": "gradient"}):
        with pytest.raises(it.InputError, match="a word is there or not"):
            measure(it.Infidelity, model, **wrong)


def test_local_fidelity_of_true_weights_is_one(model: Any) -> None:
    found = measure(it.LocalFidelity, model, gradient_of="logit", n_samples=20)
    assert found.values == pytest.approx(1)


def test_sparseness_is_the_words_gini_index() -> None:
    found = measure(it.Sparseness, BagOfWords())
    for i, w in enumerate(TRUE):
        size, n = np.abs(w), len(w)
        pairs = np.abs(size[:, None] - size[None]).sum()
        assert found.values[i] == pytest.approx(pairs / (2 * n * size.sum()), rel=1e-6)


# -- what must not matter --------------------------------------------------------------------------


def ids(pad_to: int) -> tuple[np.ndarray, np.ndarray]:
    rows = [WordTokenizer(WEIGHTS, pad_to=pad_to)(text=text)["input_ids"] for text in TEXTS]
    array = np.array(rows, np.int64)
    return array, np.zeros_like(array)


@pytest.mark.parametrize("name", EVALUATED)
def test_padding_order_and_batches_change_nothing(name: str) -> None:
    model = small_text_transformer(TOKENIZER.vocab_size)
    method = it.OcclusionInterpreter(model, preprocessing=READ)
    found, cls = method.explain(TEXTS, label=1), EVALUATORS.find(name).cls
    drawn = name in ("local_fidelity", "monotonicity_correlation", "sensitivity_n")
    options = {"n_samples": None} if name == "infidelity" else {"n_samples": 20} if drawn else {}
    whole = cls(model, preprocessing=READ, **options).measure(TEXTS, found)
    assert np.isfinite(whole.values).all()

    def same(other: it.Evaluation, rows: list[int]) -> None:
        assert other.values == pytest.approx(whole.values[rows], rel=1e-4, abs=1e-6)
        for kind in ("parts", "curves"):
            for key, part in getattr(whole, kind).items():
                np.testing.assert_allclose(getattr(other, kind)[key], part[rows], atol=1e-5)

    cut = cls(model, preprocessing=READ, batch_size=3, **options)
    same(cut.measure(TEXTS, found), [0, 1, 2, 3])
    padded = cls(model, preprocessing=READ, **options).measure(ids(16), found)
    same(padded, [0, 1, 2, 3])
    same(cls(**options).measure(TEXTS, found, interpreter=method), [0, 1, 2, 3])
    if not drawn:  # draws go by the place among the texts
        order = [2, 0, 3, 1]
        mixed = method.explain([TEXTS[i] for i in order], label=1)
        evaluator = cls(model, preprocessing=READ, **options)
        same(evaluator.measure([TEXTS[i] for i in order], mixed), order)
        for i in (1, 3):
            same(evaluator.measure(TEXTS[i], found[i]), [i])


def test_words_of_several_tokens_go_together(model: Any) -> None:
    """Pieces of two letters: a word's value is their sum, and the numbers are those of words."""
    pieces = WordTokenizer(["abcd", "ef", "ghij"], pieces=2)
    table = np.zeros((pieces.vocab_size, 1), np.float32)
    for piece, weight in {"ab": 3.0, "##cd": -2.5, "ef": 1.0, "gh": 1.0, "##ij": 1.0}.items():
        table[pieces.convert_tokens_to_ids(piece)] = weight
    model.word_embeddings = paddle.nn.Embedding(pieces.vocab_size, 1)
    model.word_embeddings.weight.set_value(table)
    values = np.array([[9.0, 3.0, -2.5, 1.0, 1.0, 1.0, 9.0]], np.float32)
    words = np.array([0.5, 1.0, 2.0])
    found = it.Deletion(model, preprocessing=it.TextPreprocessing(pieces)).measure(
        "abcd ef ghij", values, 0, signed=True
    )
    points = curve(words, np.array([2, 1, 0]), 20)
    assert found.values == pytest.approx(area(points, np.arange(4) / 3), abs=1e-6)


# -- what is given ---------------------------------------------------------------------------------


def test_the_explained_target_is_watched(model: Any) -> None:
    method = it.OcclusionInterpreter(model, preprocessing=READ)
    found = method.explain(TEXTS)  # the top class of each
    deletion = it.Deletion(model, preprocessing=READ, steps=100).measure(TEXTS, found)
    for i, w in enumerate(TRUE):
        sign = 1 if w.sum() > 0 else -1
        points = curve(sign * w, np.argsort(-sign * w, kind="stable"), 100)
        assert deletion.values[i] == pytest.approx(
            area(points, np.arange(len(w) + 1) / len(w)), abs=1e-6
        )
    evaluator = it.Deletion(model, preprocessing=READ, steps=100)
    bare = evaluator.measure(TEXTS, found.values, signed=True)
    assert bare.values == pytest.approx(deletion.values, abs=1e-6)


def test_empty_maps_are_flagged(model: Any) -> None:
    values = VALUES.copy()
    values[0], values[2, 1:7], values[3] = 0, 1, np.nan
    found = measure(it.Perturbation, model, values)
    assert sorted(found.flags) == [0, 2, 3]
    assert found.values[1] == pytest.approx(measure(it.Perturbation, model).values[1])
    for rows in (*found.parts.values(), *found.curves.values()):
        assert np.isnan(rows[[0, 2, 3]]).all()
        assert np.isfinite(rows[1]).all()
    assert it.Evaluation.from_json(found.as_json()).flags == found.flags
    nothing = measure(it.Sufficiency, model, np.zeros_like(VALUES))
    assert len(nothing.flags) == 4


def test_what_does_not_fit_is_refused(model: Any) -> None:
    method = it.OcclusionInterpreter(model, preprocessing=READ)
    found, deletion = method.explain(TEXTS), it.Deletion(model, preprocessing=READ)
    with pytest.raises(it.InputError, match="text 1 is not what was explained"):
        deletion.measure([TEXTS[0], "a film", *TEXTS[2:]], found)
    with pytest.raises(it.InputError, match="is of 4 texts; 1"):
        deletion.measure(TEXTS[0], found)
    with pytest.raises(it.InputError, match=r"must be \[4, 11\]"):
        deletion.measure(TEXTS, VALUES[:, 1:])
    with pytest.raises(it.InputError, match="the explanation is of texts"):
        it.Deletion(model).measure(TEXTS, found)
    with pytest.raises(it.InputError, match="frames"):
        it.Deletion(model, preprocessing=READ, frames=2).measure(TEXTS, found)
    with pytest.raises(it.InputError, match="token ids"):
        it.Deletion(model, preprocessing=READ, fill=0.5).measure(TEXTS, found)
    with pytest.raises(it.InputError, match="for pictures"):
        it.Deletion(model, preprocessing=READ, fill="blur").measure(TEXTS, found)
    with pytest.raises(it.InputError, match="for pictures"):
        deletion.measure(TEXTS, found, masks=np.zeros((4, 2, 2)))
    with pytest.warns(it.InterpretWarning, match="give signed="):
        deletion.measure(TEXTS, VALUES)
    for name, info in EVALUATORS.all().items():
        if "text" not in info.inputs:
            with pytest.raises(it.InputError, match=f"{name} is not for texts; .*sufficiency"):
                info.cls(model, preprocessing=READ).measure(TEXTS, found, interpreter=method)


def test_another_token_may_stand_for_nothing(model: Any) -> None:
    """In the place of a word comes "bad", and not [UNK]."""
    token = TOKENIZER.convert_tokens_to_ids("bad")
    found = measure(it.Comprehensiveness, model, bins=(1.0,), fill=token)
    assert found.values == pytest.approx(
        [probability(w) - probability(np.full(len(w), WEIGHTS["bad"])) for w in TRUE], abs=1e-6
    )


def test_a_table_of_methods_by_metrics(model: Any, tmp_path: Path) -> None:
    methods: dict[str, Any] = {
        "one out": it.OcclusionInterpreter(model, preprocessing=READ),
        "gradient": (it.GradientInterpreter(model, preprocessing=READ), {"times_input": True}),
    }
    file = tmp_path / "table.json"
    table = it.compare(methods, TEXTS, ["deletion", "sufficiency"], file=file)
    alone = it.Deletion(model, preprocessing=READ).measure(TEXTS, methods["one out"].explain(TEXTS))
    assert table["one out", "deletion"].values == pytest.approx(alone.values, abs=1e-6)
    again = it.compare(methods, TEXTS, ["deletion"], file=file)
    assert again["one out", "deletion"].values.tolist() == alone.values.tolist()
    assert TEXTS[1] in table.html()
    with pytest.raises(it.InputError, match="other images"):
        it.compare(methods, TEXTS[:2], ["deletion"], file=file)
    with pytest.raises(it.InputError, match="continuity is not for texts"):
        it.compare(methods, TEXTS, ["continuity"])
