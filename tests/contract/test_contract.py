"""Every registered method is held to the contract, and the contract notices every breach."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it
from interpretdl.registry import METHODS, register
from interpretdl.testing import CHECKS, check_interpreter, small_network, small_transformer

# Given to the methods that have the option.
SMALL = {"n_samples": 4, "nsamples": 6, "num_samples": 50, "steps": 4, "num_random_trials": 2}
SMALL |= {"evaluations": 48, "regions": 3, "strides": 2}

# (method, check): why it cannot hold there. Nothing else may fail.
EXCEPTIONS: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("method", METHODS.all())
def test_contract(method: str, check: str) -> None:
    if (method, check) in EXCEPTIONS:
        with pytest.raises(AssertionError):
            check_interpreter(method, options=SMALL, checks=[check])
        return
    check_interpreter(method, options=SMALL, checks=[check])


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("method", METHODS.all())
def test_one_and_four_channels(method: str, channels: int) -> None:
    checks = ["shape_and_record", "batch_equals_single", "path_equals_array"]
    network = small_transformer if METHODS.find(method).needs_attention else small_network
    check_interpreter(method, network(channels=channels), options=SMALL, checks=checks)


def test_exceptions_are_of_methods_and_checks_that_exist() -> None:
    assert all(m in METHODS.all() and c in CHECKS for m, c in EXCEPTIONS)


# -- the contract itself ---------------------------------------------------------------------------


class Honest(it.GradientInterpreter):
    """The plain gradient, to be broken in one place at a time."""

    def attribute(self, x: Any, target: Any, *, scale: float = 1.0) -> Any:
        """The gradient.

        Args:
            scale: multiplies it.
        """
        found = self.probe.gradients(x, target)
        return it.Attribution(scale * found.input, outputs=found.outputs)


@pytest.fixture
def registered() -> Iterator[Callable[..., type[it.Interpreter]]]:
    """Registers a class under the name "trial" until the test ends."""

    def enter(cls: type[it.Interpreter], **facts: Any) -> type[it.Interpreter]:
        facts = {"layout": "nchw", "signed": True, "paper": "none", **facts}
        return register("trial", **facts)(cls)

    yield enter
    METHODS.remove("trial")


def test_an_honest_class_passes_on_the_users_own_model(registered: Any, toy: Any) -> None:
    model = toy()  # no class names, ImageNet's preprocessing
    x = np.random.default_rng(0).normal(size=(3, 3, 20, 20)).astype(np.float32)
    given = x.copy()
    check_interpreter(registered(Honest), model, x)
    np.testing.assert_array_equal(x, given)


def broken(change: Callable[[Any, Any, Any, Any], Any], **more: Any) -> type[it.Interpreter]:
    """Honest with `change(self, x, target, values)` in place of its values."""

    class Broken(Honest):
        """Broken."""

        def attribute(self, x: Any, target: Any, *, scale: float = 1.0) -> Any:
            values = Honest.attribute(self, x, target, scale=scale).values
            return change(self, x, target, values)

    for name, value in more.items():
        setattr(Broken, name, value)
    return Broken


def first(self: Any, x: Any, target: Any, values: Any) -> Any:
    """What the first call gave, as a closure kept on first use does."""
    kept = vars(self).setdefault("kept", values)
    return kept if kept.shape == values.shape else values


def trains(self: Any, x: Any, target: Any, values: Any) -> Any:
    self.model.train()
    return values


def hooks(self: Any, x: Any, target: Any, values: Any) -> Any:
    self.model[0].register_forward_post_hook(lambda *args: None)
    return values


def gradients(self: Any, x: Any, target: Any, values: Any) -> Any:
    for parameter in self.model.parameters():
        if not parameter.stop_gradient:
            parameter.sum().backward()
    return values


def keeps(self: Any, x: Any, target: Any, values: Any) -> Any:
    self.model[0].last_map = values
    return values


def draws(self: Any, x: Any, target: Any, values: Any) -> Any:
    return values + 1e-9 * np.random.random()  # noqa: NPY002  # what must be noticed


def seeds(self: Any, x: Any, target: Any, values: Any) -> Any:
    paddle.seed(3)
    return values


def writes(self: Any, x: Any, target: Any, values: Any) -> Any:
    x *= 2
    return values


def unfreezes(self: Any, x: Any, target: Any, values: Any) -> Any:
    for parameter in self.model.parameters():
        parameter.stop_gradient = False
    return values


def nudges(self: Any, x: Any, target: Any, values: Any) -> Any:
    parameter = self.model.parameters()[0]
    parameter.set_value(parameter * 1.001)
    return values


def swallows(self: Any, x: Any, target: Any, *args: Any, **options: Any) -> Any:
    try:
        return self.probe.gradients(x, target).input
    except BaseException:
        return np.ones_like(x)


def leaves(self: Any, x: Any, target: Any) -> Any:
    layers = self.model.sublayers(include_self=True)
    modes = [layer.training for layer in layers]
    self.model.eval()
    result = self.probe.gradients(x, target).input
    for layer, mode in zip(layers, modes, strict=True):
        layer.training = mode  # not in a finally
    return result


def fresh_entropy(self: Any, x: Any, target: Any, *, seed: int = 0) -> Any:
    return np.random.default_rng().normal(size=x.shape)


def whole_batch(self: Any, x: Any, target: Any, *, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *x.ravel().view(np.uint32)]).normal(size=x.shape)


def one_argmax(self: Any, x: Any, target: Any, values: Any) -> Any:
    labels = target.settled(self.probe.logits(x)).labels
    return values * (labels == labels.max()).reshape(-1, 1, 1, 1)


def numbers_objects(self: Any, x: Any, target: Any, values: Any) -> Any:
    return values * vars(self).setdefault("number", next(COUNT))


def misreports(self: Any, x: Any, target: Any, values: Any) -> Any:
    return it.Attribution(values, outputs=self.probe.logits(x) + 1)


COUNT = itertools.count(1)
BREACHES: list[tuple[str, Any, str, dict[str, Any]]] = [
    ("facts", None, "a paper", {"paper": ""}),
    ("facts", None, "seed", {"random": True}),
    ("facts", None, "target_layer_name", {"needs_layer": True}),
    ("shape_and_record", None, "layout nhw", {"layout": "nhw"}),
    ("shape_and_record", lambda s, x, t, v: v * np.nan, "NaN", {}),
    ("shape_and_record", lambda s, x, t, v: v * 0, "all values are 0", {}),
    ("shape_and_record", lambda s, x, t, v: v[:2], "", {}),
    ("scores_are_the_targets", misreports, "scores of", {}),
    ("one_pass", misreports, "outputs", {"one_pass": True}),
    ("one_pass", lambda s, x, t, v: v, "no outputs", {"one_pass": True}),
    ("batch_equals_single", lambda s, x, t, v: v / abs(v).max(), "image 1 alone", {}),
    ("batch_equals_single", lambda s, x, t, v: v[:1].repeat(len(v), 0), "other images", {}),
    ("batch_equals_single", lambda s, x, t, v: v * 0 + 1, "have one map", {}),
    ("batch_equals_single", one_argmax, "image 0", {}),
    ("batch_equals_single", whole_batch, "image 0", {"random": True}),
    ("cut_into_batches", lambda s, x, t, v: v * (s.probe.batch_plan(x) + 1), "2 against 1", {}),
    ("no_trace", trains, "training", {}),
    ("no_trace", hooks, "_forward_post_hooks", {}),
    ("no_trace", gradients, "grad", {}),
    ("no_trace", keeps, "last_map", {}),
    ("no_trace", draws, "numpy's random numbers", {}),
    ("no_trace", seeds, "paddle's random numbers", {}),
    ("no_trace", writes, "input", {}),
    ("no_trace", unfreezes, "stop_gradient", {}),
    ("no_trace", nudges, "values of", {}),
    ("no_trace_after_error", swallows, "swallowed", {}),
    ("no_trace_after_interrupt", swallows, "swallowed", {}),
    ("no_trace_after_error", leaves, "training", {}),
    ("no_trace_after_interrupt", leaves, "training", {}),
    ("same_bits", fresh_entropy, "fresh objects differ", {"random": True}),
    ("same_bits", numbers_objects, "dif", {}),
    ("second_call", first, "against a fresh", {}),
]


@pytest.mark.parametrize(
    ("check", "change", "says", "facts"),
    BREACHES,
    ids=[f"{c}-{getattr(f, '__name__', f)}-{s}" for c, f, s, _ in BREACHES],
)
@pytest.mark.filterwarnings("ignore::interpretdl.errors.InterpretWarning")
def test_a_breach_is_noticed(
    check: str, change: Any, says: str, facts: dict[str, Any], registered: Any
) -> None:
    takes = len(inspect.signature(change).parameters) if change else 0
    if change is None:
        cls: type[it.Interpreter] = type("Trial", (Honest,), {"__doc__": "Broken."})
    elif change in (swallows, leaves, fresh_entropy, whole_batch):
        cls = type("Trial", (it.Interpreter,), {"__doc__": "Broken.", "attribute": change})
    else:
        assert takes == 4
        cls = broken(change)
    registered(cls, **facts)
    with pytest.raises((AssertionError, it.InterpretError)) as raised:
        check_interpreter("trial", checks=[check])
    if isinstance(raised.value, AssertionError):
        assert f"trial, {check}: " in str(raised.value)
    assert says in str(raised.value)


def test_what_is_not_there_is_named(registered: Any) -> None:
    with pytest.raises(it.InputError, match="grad_cam"):
        check_interpreter("gradkam")
    with pytest.raises(it.InputError, match="@register"):
        check_interpreter(type("Own", (it.Interpreter,), {"attribute": swallows}))
    with pytest.raises(it.InputError, match="same_bits"):
        check_interpreter("gradient", checks=["nothing"])
    with pytest.raises(it.InputError, match=r"float32 \[3, C, H, W\]"):
        check_interpreter("gradient", x=np.zeros((1, 3, 8, 8), np.float32))
