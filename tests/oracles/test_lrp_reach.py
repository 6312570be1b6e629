"""What LRP refuses, what it leaves behind (nothing), gates, and threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn
from paddle.autograd import PyLayer

import interpretdl as it
from interpretdl import Probe
from interpretdl.errors import InputError, UnsupportedModelError
from interpretdl.rules import COMPOSITES, WSquare, ZBox, composite_of, inspection, lrp_composite
from tests.oracles.lrp_by_hand import LABELS, OTHERS, PREPROCESSING, images, network
from tests.oracles.rules_numpy import relative

# -- what cannot be reached, and leaving no trace -------------------------------------------------


class Made(nn.Layer):
    """`before`, a function, `after`."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Conv2D(3, 4, 3, padding=1), nn.BatchNorm2D(4), nn.ReLU())
        self.after = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(4, 4))
        self.function = function
        self.weight = self.create_parameter([4, 4, 1, 1])
        rng = np.random.default_rng(2)
        for name, p in self.named_parameters():
            values = rng.normal(size=p.shape)
            p.set_value((abs(values) + 0.3 if "_variance" in name else values).astype("float32"))
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.after(self.function(self, self.before(x)))


UNREACHED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "functional convolution": (lambda m, x: F.conv2d(x, m.weight), "conv2d"),
    "matrix product": (
        lambda m, x: paddle.matmul(m.weight[:, :, 0, 0], x.flatten(2))[..., None],
        "matmul",
    ),
    "softmax": (lambda m, x: F.softmax(x, axis=1), "softmax"),
    "a product of two": (lambda m, x: x * (x + 1), "multiply"),
    "a quotient of two": (lambda m, x: x / (x + 1), "divide"),
    "a constant over it": (lambda m, x: 1 / (x + 1), "divide"),
    "an outer product": (lambda m, x: x @ x.transpose([0, 1, 3, 2]), "matmul"),
    "exponential": (lambda m, x: paddle.exp(x), "exp"),
    "power": (lambda m, x: x**2, "pow|square"),
    "layer-norm": (lambda m, x: F.layer_norm(x, x.shape[1:]), "layer_norm"),
    "shift": (lambda m, x: F.softplus(x), "softplus"),
}


@pytest.mark.parametrize("name", UNREACHED)
def test_operations_without_a_rule_are_refused(name: str) -> None:
    function, operation = UNREACHED[name]
    model = Made(function)
    before = state(model)
    for composite in ("epsilon", "alpha2_beta1"):
        with pytest.raises(UnsupportedModelError, match=operation):
            it.LRPInterpreter(model).explain(images(), LABELS, composite=composite)
        assert state(model) == before


def test_the_refusal_says_what_has_the_rule() -> None:
    def said(name: str, composite: str = "epsilon") -> str:
        with pytest.raises(UnsupportedModelError) as error:
            relevance(Made(UNREACHED[name][0]), composite)
        return str(error.value).partition("would be wrong; take ")[2]

    attn = 'LRP with composite="attn_lrp", which has rules for these; or '
    lift = "method 'deep_lift', which has rules for these; or "
    either = "a method that needs no rules, such as 'integrated_gradients' or 'grad_cam'"
    assert said("layer-norm") == said("an outer product") == attn + lift + either
    assert said("power") == lift + either
    assert said("exponential") == said("shift", "attn_lrp") == either
    assert said("a constant over it", "attn_lrp") == lift + either


def test_what_refusals_refer_to_has_the_rules() -> None:
    """What the inspection tells of other composites is what these have beyond LRP's."""
    own = {name: set(COMPOSITES[name].operations) for name in ("epsilon", "attn_lrp", "deep_lift")}
    passed = own["epsilon"] | set(COMPOSITES["epsilon"].harmless or ())
    attn, lift = inspection._ELSEWHERE.values()
    assert attn == own["attn_lrp"] - passed
    assert lift == own["deep_lift"] - passed


def test_a_program_is_refused(tmp_path: Any) -> None:
    """What paddle.jit.load gives runs without layers: rules could not reach anything."""
    shape = paddle.static.InputSpec([None, *images().shape[1:]], "float32")
    paddle.jit.save(network(), str(tmp_path / "model"), input_spec=[shape])
    program = paddle.jit.load(str(tmp_path / "model"))
    for method in (it.LRPInterpreter, it.DeepLIFTInterpreter, it.GuidedBPInterpreter):
        with pytest.raises(UnsupportedModelError, match=r"paddle\.jit\.load is one program"):
            method(program, preprocessing=PREPROCESSING).explain(images(), LABELS)


def state(model: Any) -> list[Any]:
    """All that a rule could leave behind: numbers, modes, hooks, functions exchanged."""
    found: list[Any] = [p.numpy().tobytes() for p in model.state_dict().values()]
    found += [(p.stop_gradient, p.grad) for p in model.parameters()]
    found += [
        (name, layer.training, len(layer._forward_pre_hooks), len(layer._forward_post_hooks))
        for name, layer in model.named_sublayers(include_self=True)
    ]
    names = {o for c in COMPOSITES.values() for o in c.operations}
    modules = (paddle._C_ops, paddle._legacy_C_ops)
    found += [id(getattr(m, o)) for m in modules for o in sorted(names) if hasattr(m, o)]
    return found


@pytest.mark.parametrize("composite", sorted({"z_plus_box", "alpha2_beta1", *OTHERS}))
def test_no_trace(composite: str) -> None:
    model = network()
    before, rules = state(model), composite_of(composite, PREPROCESSING)
    with rules.applied(model):
        assert state(model) != before
    assert state(model) == before
    Probe(model).gradients(images(n=2), it.ClassScore(1), rules=rules, group=2)
    assert state(model) == before

    class Stop(Exception):
        pass

    def stop(layer: Any, inputs: Any, output: Any) -> None:
        raise Stop

    handle = model[5].register_forward_post_hook(stop)
    with pytest.raises(Stop):
        Probe(model).gradients(images(n=2), it.ClassScore(1), rules=rules, group=2)
    handle.remove()
    assert state(model) == before


class Gated(nn.Layer):
    """Squeeze-and-excitation: a value between 0 and 1 for each channel, times the channel."""

    def __init__(self, function: Callable[[Any], Any], residual: bool) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Conv2D(3, 3, 1))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(108, 4, bias_attr=False))
        self.function, self.residual = function, residual
        rng = np.random.default_rng(4)
        for p in self.parameters():
            p.set_value(rng.normal(size=p.shape).astype("float32"))
        self.eval()

    def gates(self, x: Any) -> Any:
        return self.function(self.squeeze(x))

    def forward(self, x: Any) -> Any:
        y = x * self.gates(x)
        return self.head(y + x if self.residual else y)


@pytest.mark.parametrize("function", [F.sigmoid, F.hardsigmoid])
@pytest.mark.parametrize("residual", [True, False])
def test_gates_are_constant_factors(function: Any, residual: bool) -> None:
    model, x = Gated(function, residual), images()
    with paddle.no_grad():
        gates = model.gates(paddle.to_tensor(x)).numpy() + residual
    weight = model.head[1].weight.numpy()[:, LABELS].T.reshape(x.shape)
    found = Probe(model).gradients(x, it.ClassScore(LABELS), rules=composite_of("epsilon"))
    assert relative(found.relevance, x * gates * weight) < 1e-5
    plain = Probe(model).gradients(x, it.ClassScore(LABELS)).input * x
    assert relative(plain, x * gates * weight) > 0.01


def test_two_threads() -> None:
    """Rules exchange functions of the engine for a while; another thread's call must not see it."""
    x, names = images(), ["epsilon_plus", "alpha2_beta1"]
    interpreters = [it.LRPInterpreter(network(seed=s)) for s in (0, 1)]
    jobs = list(zip(interpreters, names, strict=True))
    expected = [i.explain(x, LABELS, composite=name).values for i, name in jobs]
    wrong: list[int] = []

    def work(k: int) -> None:
        interpreter, name = jobs[k]
        for _ in range(5):
            found = interpreter.explain(x, LABELS, composite=name).values
            if not np.array_equal(found, expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_that_never_runs_twice_alike_is_refused() -> None:
    class Fickle(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.LayerList([nn.Linear(4, 4) for _ in range(40)])
            self.calls = itertools.count()  # shared with the copy that the probe runs

        def forward(self, x: Any) -> Any:
            return self.layers[next(self.calls) % 40](x)

    x = np.ones((1, 4), np.float32)
    with pytest.raises(UnsupportedModelError, match="another way each time"):
        it.Probe(Fickle()).gradients(x, it.ClassScore(0), rules=composite_of("epsilon"))


# -- odd courses ----------------------------------------------------------------------------------


class Branches(nn.Layer):
    """Two branches on the image, one with a batch-norm, in one of two orders; a layer unused."""

    def __init__(self, interleaved: bool, unused: bool = False) -> None:
        super().__init__()
        self.interleaved, self.unused = interleaved, unused
        self.dead, self.stray = nn.Conv2D(3, 3, 1), nn.BatchNorm2D(3)
        self.one, self.norm = nn.Conv2D(3, 4, 3, padding=1), nn.BatchNorm2D(4)
        self.other, self.deep = nn.Conv2D(3, 4, 1), nn.Conv2D(4, 4, 1)
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
        rng = np.random.default_rng(3)
        for name, p in self.named_parameters():
            values = rng.normal(size=p.shape)
            p.set_value((abs(values) + 0.3 if "_variance" in name else values).astype("float32"))
        self.eval()

    def forward(self, x: Any) -> Any:
        if self.unused:
            self.dead(x)
        one = self.one(x)
        if not self.interleaved:
            one = self.norm(one)
        other = self.deep(F.relu(self.other(x)))
        return self.head((self.norm(one) if self.interleaved else one) + other)


def relevance(model: Any, composite: Any) -> Any:
    if isinstance(composite, str):
        composite = composite_of(composite, PREPROCESSING)
    return Probe(model).gradients(images(), it.ClassScore(LABELS), rules=composite).relevance


@pytest.mark.parametrize("options", [{"interleaved": True}, {"interleaved": False, "unused": True}])
def test_the_order_of_the_layers_does_not_matter(options: dict[str, bool]) -> None:
    """A layer that waits for its batch-norm is overtaken by others; one that nobody reads waits for
    ever.
    """
    plain = Branches(False)
    for composite in ("z_plus_box", "epsilon_gamma_box", "epsilon"):
        expected = relevance(plain, composite)
        assert relative(relevance(Branches(**options), composite), expected) < 1e-6


class Square(PyLayer):
    """x², as an operation of the user's own."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        (x,) = ctx.saved_tensor()
        return 2 * x * gradient


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda m, x: Square.apply(x), "py_layer"),
        (lambda m, x: F.prelu(x, x.mean([0, 2, 3])), "prelu"),
    ],
)
def test_what_only_looks_harmless_is_refused(function: Any, operation: str) -> None:
    with pytest.raises(UnsupportedModelError, match=operation):
        relevance(Made(function), "epsilon")


def test_division_by_a_number_needs_no_rule() -> None:
    halved, plain = Made(lambda m, x: x / 2), Made(lambda m, x: x * 0.5)
    assert relative(relevance(halved, "epsilon"), relevance(plain, "epsilon")) < 1e-6


def test_a_rule_of_the_first_layer_elsewhere_is_refused() -> None:
    for rule in (ZBox(0.0, 1.0), WSquare()):
        with pytest.raises(InputError, match=r"was given to after\.2, where it is not the first"):
            relevance(Made(lambda m, x: x), lrp_composite("mine", names={"after.2": rule}))
