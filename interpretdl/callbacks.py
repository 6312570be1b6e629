"""Explanations while a model is trained by `paddle.Model.fit`."""

from __future__ import annotations

import importlib
import inspect
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image

from .data_processor.files import check_writable
from .errors import InputError, ResourceError, did_you_mean, warn
from .explanation import Explanation
from .interpreter.base import Interpreter
from .preprocessing import whole_number
from .registry import METHODS

__all__ = ["ExplainEpoch"]


class ExplainEpoch(paddle.callbacks.Callback):
    """Explains the same pictures after each epoch, to see how the maps change.

        watch = it.callbacks.ExplainEpoch(["cat.png", "dog.png"], "grad_cam", folder="maps")
        model.fit(data, epochs=10, callbacks=[watch])

    writes `maps/epoch_001.png`, `maps/epoch_002.png`, … The training goes on as it would without:
    a copy of the network runs, in eval mode, and gradients, optimizer and random numbers stay as
    they are. Mistakes that can be seen before the training are errors when this is made. What
    fails later does not end the training: it is warned of once, and kept in `failures`.

    Of several processes the first one explains. The cost is that of the method, once an epoch.

    Args:
        pictures: what is explained, as `Interpreter.explain` takes it. Texts work as well; of
            other arrays, which cannot be drawn, the numbers are written, `epoch_001.npz`.
        method: a name as `interpretdl methods` lists them.
        folder: where the files are written; it is made. None writes none.
        every: explain after every so many epochs.
        visualdl: a log folder or a `visualdl.LogWriter`, to which the figures are added, too.
        style: of the figures, see `Explanation.plot`.
        options: of the method and of `explain`, such as label; and how the model is run and what
            its inputs are, such as preprocessing, see `Interpreter`. Without `label` the map is
            that of the likeliest class, which may change from epoch to epoch.

    Attributes:
        failures: {epoch: why it was not explained}; epochs are counted from 1.

    Raises:
        InputError: no such method or option, `every` is not positive, neither a folder nor
            VisualDL, or VisualDL is not installed.
        ResourceError: the folder cannot be made or written to.
    """

    def __init__(
        self,
        pictures: Any,
        method: str = "grad_cam",
        *,
        folder: str | os.PathLike[str] | None = "explained",
        every: int = 1,
        visualdl: Any = None,
        style: str = "overlay",
        **options: Any,
    ) -> None:
        super().__init__()
        if folder is None and visualdl is None:
            raise InputError("neither a folder nor VisualDL was given; nothing would be seen")
        self.pictures, self.style = pictures, style
        self.every = whole_number(every, "every")
        self.info = METHODS.find(method)
        self.settings, self.options = _divided(self.info.cls, options)
        self.folder = None if folder is None else _made(folder)
        self.writer = _writer(visualdl)
        self.failures: dict[int, str] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Explain, and write what was found."""
        number = epoch + 1
        if number % self.every or paddle.distributed.get_rank() > 0:
            return
        try:
            self._show(self.explain(), number)
        except Exception as error:  # whatever it is, hours of training are not lost for it
            first = not self.failures
            self.failures[number] = f"{type(error).__name__}: {error}"
            if first:
                warn(
                    f"epoch {number} was not explained, and the training goes on: "
                    f"{self.failures[number]}. Later failures are in `failures` only"
                )

    def explain(self) -> Explanation:
        """The pictures' explanation by the network as it is now."""
        interpreter = self.info.cls(self.model.network, **self.settings)
        found: Explanation = interpreter.explain(self.pictures, **self.options)
        return found

    def _show(self, found: Explanation, number: int) -> None:
        drawn = found.images is not None or found.texts is not None
        if self.folder is not None:
            path = self.folder / f"epoch_{number:03d}{'.png' if drawn else '.npz'}"
            found.save(path, style=self.style)
        if self.writer is not None and drawn:
            from .data_processor.canvas import png_of

            figure = Image.open(io.BytesIO(png_of(found.plot(self.style), dpi=100)))
            self.writer.add_image(self.info.name, np.asarray(figure.convert("RGB")), number)


def _divided(cls: type[Any], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the constructor takes, and what `explain` takes."""
    made = set(inspect.signature(Interpreter.__init__).parameters) - {"self", "model"}
    asked = set(inspect.signature(cls.explain).parameters) - {"self", "inputs"}
    for name in options:
        if name not in made | asked:
            close = did_you_mean(name, made | asked)
            raise InputError(f"neither the model nor the method has an option {name!r}{close}")
    settings = {name: value for name, value in options.items() if name in made}
    return settings, {name: value for name, value in options.items() if name not in made}


def _made(folder: str | os.PathLike[str]) -> Path:
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder {place}: {error.strerror or error}; give another one"
        ) from error
    check_writable(place / "epoch_001.png", (".png",))
    return place.absolute()


def _writer(visualdl: Any) -> Any:
    """A LogWriter of VisualDL's, or what was given."""
    if not isinstance(visualdl, str | os.PathLike):
        if visualdl is not None and not callable(getattr(visualdl, "add_image", None)):
            raise InputError(f"visualdl must be a log folder or a LogWriter; got {visualdl!r}")
        return visualdl
    try:
        module = importlib.import_module("visualdl")
    except ImportError as error:
        raise InputError(
            f"VisualDL cannot be imported ({error}): pip install visualdl, or leave visualdl= out"
        ) from error
    return module.LogWriter(logdir=os.fspath(visualdl))
