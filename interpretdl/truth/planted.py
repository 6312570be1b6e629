"""The planted suite: networks made so that what decides is known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, InterpretError
from ..probe import Probe
from .backgrounds import SIDE, backgrounds
from .planted_keys import Form, Placed, keys_of, masks_of, picture_of, scatter
from .planted_network import linear_network, planted_network
from .planted_recipes import DENSE, Evidence, Recipe, recipes
from .suite import Problem

__all__ = ["PICTURES", "closed_form", "planted"]

PICTURES = 30
"""Pictures of each problem, each with its keys in other places."""

_SUBSETS = 8
"""Of a picture's keys, with which its network is checked."""

# Squares of 3 × 3 cells of 4 × 4 pixels, and those of each class.
_SQUARES = (1, 1), (1, 9), (6, 4), (6, 12), (11, 0), (11, 8)
_OF_CLASS = np.array([[0, 3, 4], [1, 2, 5]])


def planted(pictures: int = PICTURES) -> tuple[Problem, ...]:
    """The problems of the planted suite.

    Args:
        pictures: of each problem.

    Raises:
        InterpretError: a network does not do what it was made to do. Each is run on pictures with
            subsets of their keys, on other backgrounds, without the evidence, and on it alone.
    """
    return (*(_made(recipe, pictures) for recipe in recipes()), _linear(pictures))


def _made(recipe: Recipe, n: int) -> Problem:
    form = recipe.form
    keys = keys_of(form, recipe.head.units.shape[1] - 1, seed=form.taps)
    rippling = keys_of(form, 1, seed=99)[0] if recipe.ripples else None
    model = planted_network(form, keys, recipe.head, moved=recipe.moved, ripples=rippling)
    kinds = [i % len(recipe.wanted) for i in range(n)]
    rng = np.random.default_rng(sum(map(ord, recipe.name)))
    scenes = [scatter(form, recipe.wanted[k], recipe.labels[k][1], rng) for k in kinds]
    behind = backgrounds(n, seed=0)
    x = np.stack([
        picture_of(one, form, keys, placed) for one, placed in zip(behind, scenes, strict=True)
    ])  # fmt: skip

    def classes(chosen: Sequence[Evidence]) -> NDArray[np.int64]:
        return np.array([chosen[k][0] for k in kinds])

    def masks(chosen: Sequence[Evidence]) -> NDArray[np.bool_]:
        return np.stack([
            masks_of(form, keys, [one for one in placed if one.key in chosen[k][1]])
            for k, placed in zip(kinds, scenes, strict=True)
        ])  # fmt: skip

    others = recipe.others
    problem = Problem(
        recipe.name, "planted", model, x, classes(recipe.labels), masks(recipe.labels),
        recipe.doc, classes(others) if others else None, masks(others) if others else None,
        layer="mixed",
    )  # fmt: skip
    _check(problem, recipe, keys, scenes)
    return problem


def _check(
    problem: Problem, recipe: Recipe, keys: NDArray[np.float32], scenes: Sequence[list[Placed]]
) -> None:
    """Hold the network against what its recipe says, by interventions on the pictures."""
    form = recipe.form
    decoys = {len(keys) - 1} if recipe.moved else set()
    rng = np.random.default_rng(1)
    elsewhere = backgrounds(len(scenes), seed=1)
    given: list[NDArray[np.float32]] = []
    expected: list[NDArray[np.float64]] = []

    def expect(x: NDArray[np.float32], there: Sequence[Placed]) -> None:
        found = [one.key for one in there if one.key not in decoys]
        given.append(x)
        expected.append(recipe.head.logits([found.count(key) for key in range(len(keys))]))

    for i, placed in enumerate(scenes):
        evidence = recipe.labels[i % len(recipe.labels)][1]
        x, mask = problem.x[i], problem.masks[i]
        expect(x, placed)
        expect(x * ~mask, [one for one in placed if one.key not in evidence])
        expect(x * mask, [one for one in placed if one.key in evidence])
        chosen = list(itertools.product((False, True), repeat=len(placed)))
        if len(chosen) > _SUBSETS:
            chosen = [chosen[k] for k in rng.choice(len(chosen), _SUBSETS, replace=False)]
        for some in chosen:
            there = [one for one in itertools.compress(placed, some) if one.key not in decoys]
            moved = [_anywhere(key, form, rng) for key in decoys]
            drawn = [*there, *(one for one in moved if _is_free(one, there, form))]
            expect(picture_of(elsewhere[i], form, keys, drawn), there)
    found = Probe(problem.model).logits(np.stack(given))
    worst = float(np.abs(found - np.stack(expected)).max())
    if not worst < recipe.exact:
        raise InterpretError(
            f"the planted network of {problem.name!r} does not do what it was made to do: a logit "
            f"is off by {worst:.3g}; Paddle or scikit-image's photographs have changed"
        )


def _anywhere(key: int, form: Form, rng: np.random.Generator) -> Placed:
    top, left = (int(place) for place in rng.choice(form.places(), 2))
    return Placed(key, top, left)


def _is_free(one: Placed, others: Sequence[Placed], form: Form) -> bool:
    """Whether none of the others lies where it does."""
    return all(
        max(abs(one.top - other.top), abs(one.left - other.left)) >= form.side for other in others
    )


def _linear_model() -> tuple[Any, NDArray[np.float64], NDArray[np.bool_]]:
    """The linear network, its weights [2, 3, H, W], and six squares [6, H, W]."""
    parts = np.zeros((6, SIDE // 4, SIDE // 4), bool)
    for part, (top, left) in zip(parts, _SQUARES, strict=True):
        part[top : top + 3, left : left + 3] = True
    model, weights = linear_network(parts[_OF_CLASS].any(axis=1), seed=0)
    return model, weights, parts.repeat(4, 1).repeat(4, 2)


def _linear(n: int) -> Problem:
    """A linear network, whose explanations are known in closed form."""
    model, weights, parts = _linear_model()
    none = keys_of(DENSE, 1, seed=0)
    x = np.stack([picture_of(one, DENSE, none, ()) for one in backgrounds(n, seed=0)])
    labels = np.arange(n) % 2
    values = weights[labels] * x
    problem = Problem(
        "linear", "planted", model, x, labels, parts[_OF_CLASS[labels]].any(axis=1),
        "Each logit is a sum of pixels times weights, which are zero outside of three squares of "
        "its own; the truth is the three.",
        others=1 - labels, other_masks=parts[_OF_CLASS[1 - labels]].any(axis=1),
        parts=np.repeat(parts[None], n, axis=0),
        importance=np.einsum("nchw,phw->np", values, parts), layer="convolution", mixed=True,
    )  # fmt: skip
    found = Probe(model).logits(x)[np.arange(n), labels]
    if not np.allclose(found, values.sum(axis=(1, 2, 3)), atol=1e-4):
        raise InterpretError("the linear network does not give the sum that it was made to give")
    return problem


def closed_form(problem: Problem) -> NDArray[np.float64]:
    """Weight times pixel: what every method that shares a linear score gives.

    Args:
        problem: "linear" of the planted suite.

    Returns:
        float64 [N, 3, H, W].

    Raises:
        InputError: another problem.
    """
    if (problem.suite, problem.name) != ("planted", "linear"):
        raise InputError(f"only planted/linear is known in closed form; got {problem!r}")
    return _linear_model()[1][problem.labels] * problem.x
