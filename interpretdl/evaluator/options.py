"""Options of evaluators: annotated attributes of the class, each documented once."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field, fields
from typing import Any, get_origin

from typing_extensions import dataclass_transform

from ..hints import alternatives, check_value, hints_of
from ..interpreter.options import arguments_of
from ..interpreter.sampling import at_least

__all__ = ["Options"]

GLOSSARY = """
Args:
    steps: how many equal steps; fewer where there are fewer parts. Values are of these; curves of
        texts are brought to the shares 0, 1/steps, …, 1 of their words in straight lines between.
    fill: what stands where pixels were taken out: "mean" (of each image and channel), "blur",
        "road" (noisy linear interpolation), "inpaint", "black", a number, or an array that
        broadcasts to the images. Of texts "mean" is the token that their TextPreprocessing names;
        else a token id.
    gradient_of: the score of the explained class that is watched: "logit", "probability", "loss" or
        "contrast"; None is the score that was explained. A target that is no class is watched as
        it is.
    frames: how many pictures along the curve are kept, with their maps where the method explains
        them anew, for `Evaluation.frames`.
    patch: side in pixels of the squares that are taken out together; of texts words are.
    seed: of all that is drawn, with each image's index; other images do not matter.
"""


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class Options:
    """Base of classes whose options are their annotated attributes.

    `steps: int = 20` in the body of a class makes `steps` a keyword argument of its constructor,
    as in a dataclass. What is not said of it under `Args:` is taken from the base classes, or from
    the glossary. A value of another type is refused, and a text that its Literal does not list.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.getdoc(cls) or ""
        dataclass(kw_only=True, eq=False, repr=False)(cls)
        cls.__doc__ = _help(cls, own)

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        for each in fields(self):  # type: ignore[arg-type]  # it is one, see above
            value, hint = getattr(self, each.name, None), hints.get(each.name)
            kinds = [get_origin(kind) for kind in alternatives(hint)]
            if isinstance(value, list) and tuple in kinds:
                value = tuple(value)
                setattr(self, each.name, value)
            if each.init and each.name in hints and value is not each.default:
                check_value(each.name, value, hint)
        at_least(0, seed=getattr(self, "seed", None))
        self.check()

    def check(self) -> None:
        """Raise InputError where the options' values do not fit."""


def _help(cls: type[Any], own: str) -> str:
    """The documentation of a class with all arguments of its constructor."""
    known = arguments_of(GLOSSARY)
    for text in (*(base.__doc__ for base in reversed(cls.__mro__[1:])), own):
        known |= arguments_of(inspect.cleandoc(text or ""))
    taken = list(inspect.signature(cls).parameters)
    near = [name for base in cls.__mro__ for name in vars(base).get("__annotations__", ())]
    names = [n for n in dict.fromkeys([*arguments_of(own), *near, *taken]) if n in taken]
    listed = "\n".join(known[name] for name in names if name in known)
    head, _, rest = own.partition("Args:\n")
    tail = re.search(r"^(Attributes|Raises|Returns):\n.*", rest or own, re.MULTILINE | re.DOTALL)
    if not rest and tail:
        head = own[: tail.start()]
    return f"{head.rstrip()}\n\nArgs:\n{listed}\n\n{tail[0] if tail else ''}".rstrip() + "\n"
