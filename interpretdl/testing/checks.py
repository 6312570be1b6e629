"""The checks, in the order in which they are run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..data_processor.readers import read_images
from ..errors import (
    InputError,
    InterpretError,
    LayerNotFoundError,
    ResourceError,
    TargetError,
    UnsupportedModelError,
)
from ..explanation import Explanation
from ..interpreter.options import documented
from ..probe import Probe
from ..registry import METHODS
from ..targets import ClassScore, TopClass, as_target, scores_of
from .case import MethodCase, need, need_error, need_same, other_values
from .trace import STOPS, need_no_trace, need_no_trace_after

__all__ = ["CHECKS"]

CHECKS: dict[str, Callable[[MethodCase], None]] = {}
"""The contract, one function for each name in `check_interpreter(checks=...)`."""


def _check(function: Callable[[MethodCase], None]) -> Callable[[MethodCase], None]:
    CHECKS[function.__name__.strip("_")] = function
    return function


@_check
def _facts(case: MethodCase) -> None:
    """The registry's facts are there and agree with the signature and the documentation."""
    info = case.info
    need(METHODS.all().get(info.name) is info, "the registry has another class of this name")
    need(info.paper and info.summary, "a paper, and a first line of documentation, are needed")
    need("seed" in info.options or not info.random, "a random method takes seed=")
    if info.needs_layer:
        need("target_layer_name" in info.options, "needs_layer, but no target_layer_name=")
    said = documented(info.cls)
    for name, parameter in info.options.items():
        need(parameter.default is not parameter.empty, f"option {name} needs a default")
        need(name in said, f"option {name} is not among the Args of attribute")
    need(info.cls.gradient_of in info.cls.scores, "gradient_of is none of the class's scores")


@_check
def _shape_and_record(case: MethodCase) -> None:
    """Values float32 in the registered layout, finite, not all 0; what is needed to do it again."""
    found = case.explain()
    n, c, h, w = case.x.shape
    shape, layout = found.values.shape, case.info.layout
    fits = {"nchw": shape == (n, c, h, w), "n1hw": shape == (n, 1, h, w), "nhw": len(shape) == 3}
    need(fits[layout] and len(shape) and shape[0] == n, f"layout {layout}, but values {shape}")
    need(found.values.dtype == np.float32, f"values are {found.values.dtype}, not float32")
    need(np.isfinite(found.values).all(), "values are not finite")
    need(found.values.any(), "all values are 0, for every image")
    logits = Probe(case.model).logits(case.x)
    need(found.labels.tolist() == logits.argmax(1).tolist(), "label=None is not the top class")
    need(found.target is not None, "what was explained is not recorded")
    need(found.method == case.info.name, f"method is {found.method!r}")
    need(set(case.options) <= set(found.parameters), "options are missing in parameters")
    json.dumps(found.parameters)
    need(found.heatmap().shape == (n, h, w), "heatmap() is not [N, H, W]")


@_check
def _scores_are_the_targets(case: MethodCase) -> None:
    """`scores` are the numbers that were explained, whichever score of the class it was."""
    logits = Probe(case.model).logits(case.x)
    for of in case.info.cls.scores:
        target = ClassScore(1, of)
        expected = scores_of(target, logits)
        for how in ({"label": 1, "gradient_of": of}, {"label": target}):
            found = case.explain(**how)
            need_same(found.scores, expected, f"scores of {how}")
            need(found.parameters["gradient_of"] == of, f"parameters say another score than {of}")
            need(isinstance(found.target, ClassScore), f"target is {found.target!r}")
            need_same(scores_of(as_target(found.target), logits), expected, f"the target of {how}")
    top = ClassScore(logits.argmax(1), case.info.cls.gradient_of)
    need_same(case.explain().scores, scores_of(top, logits), "scores of label=None")


@_check
def _one_pass(case: MethodCase) -> None:
    """A method that is said to run the inputs themselves: `explain` runs the model no further."""
    if not case.info.one_pass:
        return
    x, method = case.x[:1], case.method()
    case.explain(x, method=method)  # a first call may look at the model in runs of its own
    with case.runs() as own:
        found = method.attribute(x, TopClass(method.gradient_of), **case.options)
    outputs = getattr(found, "outputs", None)
    need(outputs is not None, "one_pass=True, but attribute gives no outputs")
    need_same(outputs, Probe(case.model).logits(x), "outputs")
    for label in (None, 1):
        with case.runs() as rows:
            case.explain(x, label, method=method)
        need(rows == own, f"explain(label={label}) makes {len(rows)} runs, attribute {len(own)}")


@_check
def _batch_equals_single(case: MethodCase) -> None:
    """An image's map does not depend on the images beside it."""
    labels = [0, 1, 2]
    batch = case.explain(label=labels).values
    for i, label in enumerate(labels):
        beside = case.x[(np.arange(3) * 2 + i + 1) % 3]  # other neighbours
        beside[i] = case.x[i]
        other = [0, 0, 0]
        other[i] = label
        got = case.explain(beside, other).values[i]
        need_same(got, batch[i], f"image {i} with other images beside it")
        if i == 0 or not case.info.random:  # random numbers go by the position in the batch
            alone = case.explain(case.x[i : i + 1], label).values[0]
            need_same(alone, batch[i], f"image {i} alone")
    top = case.explain().values
    same = [np.array_equal(top[i], top[i - 1]) for i in range(3)]
    need(not all(same), "three different images have one map")


@_check
def _cut_into_batches(case: MethodCase) -> None:
    """Batches of one, of two, or as planned: the same values."""
    one, two, planned = (case.explain(method=case.method(batch_size=k)) for k in (1, 2, None))
    need_same(two.values, one.values, "batch_size 2 against 1")
    need_same(planned.values, one.values, "batch_size None against 1")


@_check
def _no_trace(case: MethodCase) -> None:
    """Model, input and the global state are what they were; also for a model in use."""
    need_no_trace(case, lambda: case.explain().values)


def _no_trace_after(stop: type[BaseException], case: MethodCase) -> None:
    def make() -> Callable[[], Any]:
        method = case.method()
        return lambda: case.explain(method=method).values

    need_no_trace_after(stop, case, make)


@_check
def _no_trace_after_error(case: MethodCase) -> None:
    """As `no_trace`, when a layer raises an error."""
    _no_trace_after(STOPS[0], case)


@_check
def _no_trace_after_interrupt(case: MethodCase) -> None:
    """As `no_trace`, on Ctrl-C in the middle of a forward pass."""
    _no_trace_after(STOPS[1], case)


@_check
def _same_bits(case: MethodCase) -> None:
    """Two calls give the same bits; for random methods with the same seed, and only then."""
    first = case.explain().values
    need(np.array_equal(case.explain().values, first), "two fresh objects differ")
    method = case.method()
    for _ in range(2):
        need(np.array_equal(case.explain(method=method).values, first), "two calls differ")
    if case.info.random:
        other = case.explain(seed=1).values
        need(not np.array_equal(other, first), "seed=1 gives what seed=0 gives")


@_check
def _second_call(case: MethodCase) -> None:
    """A call with other options, label or images gives what a fresh object gives."""
    used = case.method()
    calls: list[dict[str, Any]] = [{"label": 1}, {"x": case.x[1:]}]
    calls += [{name: value} for name, value in other_values(case).items()]
    case.explain(method=used)
    for call in calls:
        try:
            expected = case.explain(**call)
        except InterpretError as error:  # a combination that the method refuses
            need_error(type(error), f"{call}", case.explain, method=used, **call)
            continue
        got = case.explain(method=used, **call)
        need_same(got.values, expected.values, f"a used object with {list(call)} against a fresh")
    need_same(case.explain(method=used).values, case.explain().values, "back to the first call")


@_check
def _labels_agree(case: MethodCase) -> None:
    """One label as int, NumPy integer, list, array, Tensor and name; as label= and labels=."""
    names = getattr(case.model, "class_names", None)
    expected = case.explain(label=1).values
    three = np.array([1, 1, 1])
    forms = [np.int64(1), np.array(1), paddle.to_tensor(1), [1] * 3, (1,) * 3, three]
    forms += [three.astype(np.int32), paddle.to_tensor(three)]
    forms += [names[1], [names[1]] * 3] if names else []
    for form in forms:
        need_same(case.explain(label=form).values, expected, f"label={form!r} against 1")
    need_same(case.explain(labels=1).values, expected, "labels=1")
    found = case.explain(label=ClassScore(1, case.info.cls.gradient_of))
    need_same(found.values, expected, "a target against its class")


@_check
def _bad_labels(case: MethodCase) -> None:
    """A label that the model does not have is a TargetError."""
    classes = case.classes()
    bad = [
        classes,
        -1,
        10**30,
        True,
        1.5,
        "no such class",
        [0, 1],
        [0, 1, classes],
        [],
        [[0, 1, 2]],
    ]
    bad += [np.array([0.0, 1.0, 2.0]), [0, [1], 2], object()]
    for label in bad:
        need_error(TargetError, f"label={label!r}", case.explain, label=label)
    method = case.method()
    both = {"label": 0, "labels": 1, **case.options}
    need_error(InputError, "both label and labels", method.explain, case.x, **both)


@_check
def _bad_layer(case: MethodCase) -> None:
    """A layer that the model does not have is a LayerNotFoundError."""
    for option in ("target_layer_name", "layer"):
        if option in case.info.options:
            for name in ("no_such_layer", "no_such_layer:input"):
                given: dict[str, Any] = {option: name}
                need_error(LayerNotFoundError, f"{given}", case.explain, **given)


@_check
def _bad_options(case: MethodCase) -> None:
    """An option that the method does not have is a TypeError that lists those it has."""
    for call in (case.explain, case.interpret):
        with case.runs() as counted:
            raised = need_error(TypeError, "no_such_option=1", call, no_such_option=1)
        missing = [name for name in case.info.options if name not in str(raised)]
        need("no_such_option" in str(raised) and not missing, f"{raised} does not list {missing}")
        need(not counted, "the model was run before an unknown option was refused")
    need_error(InputError, "gradient_of='x'", case.explain, gradient_of="x")


@_check
def _bad_save_path(case: MethodCase) -> None:
    """A place where nothing can be saved is an error before the model is run."""
    with tempfile.TemporaryDirectory() as folder, case.runs() as counted:
        path = str(Path(folder) / "missing" / "map.png")
        for paths, error in (([path] * 3, ResourceError), ([f"{folder}/a.png"], InputError)):
            need_error(error, f"save_path={paths}", case.interpret, save_path=paths)
        need(not list(Path(folder).iterdir()), "something was written")
    need(not counted, "the model was run before save_path was refused")


@_check
def _interpret_equals_explain(case: MethodCase) -> None:
    """interpret() returns explain()'s values, prints the classes, and saves where it is told."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{i}.npz") for i in range(3)]
        values, printed = case.interpret(label=1, save_path=paths)
        saved = np.concatenate([Explanation.load(path).values for path in paths])
    expected = case.explain(label=1).values
    need(isinstance(values, np.ndarray), f"interpret() gave {type(values).__name__}")
    need(np.array_equal(values, expected), "interpret() is not explain()")
    need(np.array_equal(saved, expected), "what was saved is not what was returned")
    need(printed.count("Use label: 1") == 3, f"printed {printed!r}")


@_check
def _path_equals_array(case: MethodCase) -> None:
    """A picture's file, its path as text and an image are one, and so are its pixels' arrays."""
    from PIL import Image

    method = case.method()
    need(method.preprocessing is not None, "preprocessing is None, though pictures are explained")
    pixels = method.preprocessing.restore(case.x[:1])[0]  # type: ignore[union-attr]  # see above
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        image.save(path)
        prepared = read_images(path, method.preprocessing).inputs  # type: ignore[arg-type]
        own = method.preprocessing.normalize(pixels[None])  # type: ignore[union-attr]
        forms: list[tuple[Any, Any]] = [
            (form, prepared) for form in (path, str(path), path.read_bytes(), image)
        ]
        forms += [(form, own) for form in (pixels, pixels[None], [pixels])]
        for form, x in forms:
            found, expected = (case.explain(each, method=method).values for each in (form, x))
            need_same(found, expected, f"a picture as {type(form).__name__} and as inputs", 0)


@_check
def _constant_image(case: MethodCase) -> None:
    """An image of one colour gives finite values, or is refused when it is 0 everywhere."""
    for value in (0, case.x.min(), case.x.max()):
        x = np.full_like(case.x, value)
        try:
            found = case.explain(x).values
        except UnsupportedModelError:  # no input says anything, so nothing can be shared among them
            need(value == 0, f"an image of {value} everywhere is refused")
        else:
            need(np.isfinite(found).all(), f"values for an image of {value} are not finite")
