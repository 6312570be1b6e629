"""run(): explain a data set into a store that can be taken up again."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import paddle

from ..dissection.lock import Hold
from ..errors import InputError, ResourceError, warn
from ..hints import check_value
from ..preprocessing import whole_number
from ..progress import progress_bar
from ..record import plain
from ..subject import Subject
from ..version import __version__
from .engines import Stop, in_processes, in_this_process
from .missing import needed
from .opened import Run, open_run
from .plan import Explained, Plan, check_explained, check_plan
from .shard import Job, Maker
from .source import Source, source_of
from .store import begin, changed_picture, complete_shards
from .worker import Worker

__all__ = ["run"]

LOCK = ".run.lock"


def run(
    source: Any,
    methods: str | Sequence[str] | Mapping[str, str],
    model: Any,
    *,
    metrics: str | Sequence[str] | Mapping[str, str] = (),
    out: str | os.PathLike[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    labels: Any = None,
    explain: Explained = "prediction",
    workers: int | None = None,
    ray: str | None = None,
    map_size: int = 56,
    shard_size: int = 64,
    batch_size: int = 4,
    threads: int | None = None,
    seconds: float = 600.0,
    on_shard: Callable[[dict[str, Any]], Any] | None = None,
    **settings: Any,
) -> Run:
    """Explain a data set by several methods, and keep everything in a folder of parquet files.

        it.run("photographs/", ["grad_cam", "lrp"], "efficientnet_lite0", out="found/", workers=2)

    A run that was interrupted, by Ctrl-C, `kill -9` or a full disk, goes on where it was when it is
    called again: at most the shards in hand are lost. The store is the same, bit for bit, however
    often that happened and however many workers there were.

    Args:
        source: a folder (and those within it), a list of paths, a .csv or .parquet with a column
            "path" and maybe one "label", or a data set whose items are `(picture, label)` or
            pictures. For workers a data set is given as "package.module:function", which makes it.
        methods: registered names, or a mapping from names of your own to them.
        model: for workers what each of them builds it from: a name as `interpretdl models` lists
            them, or a function without arguments that returns it, as "package.module:function" or
            itself if it can be imported. A paddle.nn.Layer or a Subject is explained in this
            process.
        metrics: registered names of evaluators that need no masks and boxes, likewise.
        out: the folder; it is made. A folder with another run is refused.
        options: for each method or metric by name, its options; plain values for workers.
        labels: a class index or name for each picture, which is stored with it; "folders" takes the
            name of the folder that a picture lies in.
        explain: which class: the "prediction", or the "label".
        workers: processes on this machine, or actors of Ray; 0: this process, which a picture that
            kills its decoder ends. None: 0 for a model that is an object, else 1.
        ray: address of a Ray cluster, "auto" for the one that this process is connected to or
            that Ray finds, or "local" for one on this machine. `out` and the pictures must have the
            same paths on all nodes.
        map_size: pixels of a map's longer side; a map is not enlarged.
        shard_size: pictures in one file, which is what an interruption may cost each worker.
        batch_size: pictures explained together, and most inputs in one run of the model.
        threads: of each worker, which change the last digits of maps; None: 1. More processes are
            faster than more threads. This process has as many as OMP_NUM_THREADS said when Python
            started, and another number is refused.
        seconds: how long a step may take, such as reading one picture or one method on a batch.
            A worker that takes longer is replaced. Not in this process.
        on_shard: called after each shard with a dict of plain values.
        settings: weights and pretrained for a model by name; device, output, output_kind, engine;
            for a model that is an object also preprocessing and class_names, see `Interpreter`.

    Returns:
        the Run. Pictures that cannot be read or explained are rows with their error.

    Raises:
        InputError: an argument that does not fit; `out` holds another run (what differs is said);
            pictures have changed since (the first of each file is looked at, of 100 at most), or
            none of those in these files is there any more.
        ResourceError: `out` cannot be written to or another run writes there; pyarrow or Ray is
            missing; a worker ends again and again before it does anything.
        KeyboardInterrupt: after Ctrl-C, once the shards in hand are done; the second is at once.
    """
    with needed("pyarrow", "runs" if ray is None else "ray"):
        import pyarrow  # noqa: F401
    check_explained(explain)
    entries = check_plan(
        methods, metrics, options,
        map_size=map_size, shard_size=shard_size, batch_size=batch_size,
        threads=1 if threads is None else threads,
    )  # fmt: skip
    check_value("ray", ray, str | None)
    check_value("weights", settings.get("weights"), str | os.PathLike | None)
    check_value("on_shard", on_shard, Callable | None)
    check_value("seconds", seconds, float)
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise InputError(f"seconds must be above 0 and finite, such as 600; got {seconds:g}")
    pictures = source_of(source, labels)
    if explain == "label" and pictures.labels is None and pictures.paths is not None:
        raise InputError("explain='label' needs labels: a column 'label', or labels=")
    if inspect.isfunction(model):
        model = _named(model) if workers != 0 else model()
    count, spec = _workers(model, workers, ray, settings)
    threads = _threads(threads, count)
    folder = _folder(out)
    plan = Plan(
        spec, *entries, explain, int(map_size), int(batch_size),
        threads, str(folder.resolve()), os.getcwd(), pictures.spec, list(sys.path),
    )  # fmt: skip
    if count and pictures.paths is None and pictures.spec is None:
        raise InputError(
            "workers make the data set themselves: give it as 'package.module:function', or "
            "workers=0"
        )
    with Hold(folder, LOCK, "run"):
        _Course(plan, pictures, folder, int(shard_size), on_shard).go(
            model, count, ray, seconds, settings
        )
    return open_run(folder)


def _named(function: Any) -> str:
    """A function as workers import it."""
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or "." in name or "<" in name:
        raise InputError(
            f"workers cannot import {name} of {module}: put the function into a module, or give "
            "workers=0"
        )
    return f"{module}:{name}"


def _workers(
    model: Any, workers: int | None, ray: str | None, settings: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """How many processes, and what they build the model from."""
    named = isinstance(model, str)
    count = int(named) if workers is None else whole_number(workers, "workers", 0)
    if not named:
        if count or ray is not None:
            raise InputError(
                f"workers build the model themselves: give its name or 'package.module:function', "
                f"not a {type(model).__name__}; or workers=0"
            )
        return 0, {}
    if ray is not None and not count:
        raise InputError("ray needs at least one worker")
    allowed = ("weights", "pretrained", "device", "output", "output_kind", "engine")
    for name in settings:
        if name not in allowed:
            raise TypeError(
                f"run() has no argument {name!r} for a model by name; {', '.join(allowed)} are "
                "those of a model, and its function can give it preprocessing and class_names"
            )
    weights = settings.get("weights")
    spec = {"name": model, **settings}
    return count, spec if weights is None else {**spec, "weights": os.path.abspath(weights)}


def _threads(given: int | None, workers: int) -> int:
    """Of a process. Results depend on it bit for bit, as products are summed in another order."""
    if workers:
        return 1 if given is None else int(given)
    text = os.environ.get("OMP_NUM_THREADS", "")
    here = int(text) if text.isascii() and text.isdigit() else 1  # as Paddle reads it
    if given not in (None, here):
        raise InputError(
            f"threads are those of workers, and this process has {here}: give workers=1, or "
            f"OMP_NUM_THREADS={given} in the environment before Python starts"
        )
    return here


def _folder(out: str | os.PathLike[str]) -> Path:
    check_value("out", out, str | os.PathLike)
    try:
        if not os.fspath(out):
            raise ValueError("the path is empty")
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"cannot make the folder {out}: {reason}") from error
    return folder


class _Course:
    """One run from its beginning to its end."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        folder: Path,
        shard_size: int,
        on_shard: Callable[[dict[str, Any]], Any] | None,
    ) -> None:
        self.plan, self.source, self.folder = plan, source, folder
        self.shard_size, self.on_shard = shard_size, on_shard
        self.shards = -(-len(source) // shard_size)
        self.done = self.pictures = 0
        self.began = time.monotonic()

    def go(
        self, model: Any, count: int, ray: str | None, seconds: float, settings: dict[str, Any]
    ) -> None:
        stop, count = Stop(), min(count, self.shards)
        bar = progress_bar(len(self.source), "run", "picture")
        with bar, _interrupts(stop):
            if ray is not None:
                from .on_ray import on_ray

                engine = on_ray(ray, self.plan, count, seconds, self._agree, stop)
            elif count:
                workers = [Worker(self.plan, seconds) for _ in range(count)]
                engine = in_processes(workers, self._agree, stop)
            else:
                if isinstance(model, str):
                    subject = self.plan.subject()
                else:
                    size = None if isinstance(model, Subject) else self.plan.batch_size
                    subject = Subject.of(model, batch_size=size, **settings)
                maker = Maker(self.plan, subject, self.source.dataset)
                engine = in_this_process(maker, self._agree, stop)
            errors = now = 0
            with contextlib.closing(engine):
                for found in engine:
                    if not now and self.pictures:  # what was there before is not part of the speed
                        bar.initial = self.pictures
                        bar.update(self.pictures)
                    self.done += 1
                    now += found["pictures"]
                    errors += found["errors"]
                    bar.set_postfix_str(f"{errors} errors" if errors else "")
                    bar.update(found["pictures"])
                    for text in found.pop("warnings", ()):  # of a worker's process
                        warn(text)
                    self._tell(found, now, time.monotonic() - self.began)
        if stop.is_set() and self.done < self.shards:
            raise KeyboardInterrupt

    def _tell(self, found: dict[str, Any], now: int, seconds: float) -> None:
        if self.on_shard is not None:
            self.pictures += found["pictures"]
            left = (len(self.source) - self.pictures) * seconds / now
            self.on_shard(
                {
                    **found, "done": self.done, "shards": self.shards,
                    "pictures_per_second": round(now / seconds, 3), "seconds_left": round(left, 1),
                }
            )  # fmt: skip

    def _agree(self, description: dict[str, Any]) -> list[Job]:
        """Note what is run, or hold it against what is noted; the jobs that are left."""
        plan = self.plan
        fingerprint = {
            "source": self.source.digest(),
            "explain": plan.explain,
            "map_size": plan.map_size,
            "batch_size": plan.batch_size,
            "shard_size": self.shard_size,
            "threads": plan.threads,
            "versions": {
                "interpretdl": __version__, "paddle": paddle.__version__,
                **{name: importlib.metadata.version(name) for name in ("numpy", "pillow")},
            },
            **description["fingerprint"],
        }  # fmt: skip
        settings = {
            "model": plan.model or description["fingerprint"]["model"],
            "methods": plan.methods,
            "metrics": plan.metrics,
            "explain": plan.explain,
            "map_size": plan.map_size,
            "batch_size": plan.batch_size,
            "threads": plan.threads,
            "source": plan.dataset or ("paths" if self.source.paths else "a data set"),
            "root": plan.root,
            "versions": {
                "pyarrow": importlib.metadata.version("pyarrow"), **fingerprint["versions"]
            },
        }  # fmt: skip
        content = {
            "fingerprint": fingerprint, "settings": plain(settings),
            "class_names": description["class_names"], "pictures": len(self.source),
            "shards": self.shards, "shard_size": self.shard_size,
        }  # fmt: skip
        begin(self.folder, content)
        there = complete_shards(self.folder, fingerprint, self.shards, remove=True)
        paths = self.source.paths
        if paths and (
            changed := changed_picture(self.folder, there, list(plan.metrics), paths, plan.root)
        ):
            raise InputError(
                f"{changed} has changed since {self.folder} was begun; give another folder, or "
                "remove this one"
            )
        self.done = len(there)
        self.began = time.monotonic()  # what building the model took is not part of the speed
        size = self.shard_size
        self.pictures = sum(len(self.source.rows(s * size, (s + 1) * size)) for s in there)
        return [
            Job(
                shard,
                self.source.rows(shard * size, (shard + 1) * size),
                fingerprint,
                plan.batch_size,
            )
            for shard in range(self.shards)
            if shard not in there
        ]


@contextlib.contextmanager
def _interrupts(stop: Stop) -> Iterator[None]:
    """The first Ctrl-C stops after the shards in hand; the second is as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def first(*_: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        print("stopping after the shards in hand; Ctrl-C again stops at once", file=sys.stderr)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
