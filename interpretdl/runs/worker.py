"""A process that makes shards, watched: it is replaced when it dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import asdict, replace
from typing import IO, Any

from .. import errors
from ..errors import InputError, InterpretError, ResourceError
from .plan import Plan
from .shard import READING, Job

__all__ = ["Worker", "failure", "raised"]

_TRIES = 3  # of what dies before it has begun anything
_BUILD_SECONDS = 600.0
_LAST_SECONDS = 5


class Worker:
    """Makes shards in a process of its own.

    When the process ends in the middle of a shard, or a step takes too long, it is started again
    and the shard is made once more. If it ends at the same step again, what it had in hand is to
    blame: a picture that was being read gets an error for its row; pictures that were being
    explained are tried in smaller batches, down to the one that gets an error.

    Args:
        plan: what is done.
        seconds: how long a step may take.
    """

    def __init__(self, plan: Plan, seconds: float = 600.0) -> None:
        self.plan, self.seconds = plan, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._known: dict[str, Any] | None = None
        self._stopped = self._hung = False

    def start(self) -> dict[str, Any]:
        """Start the process and build the model, if that is not done.

        Returns:
            what `Maker.describe` gives.

        Raises:
            InterpretError: as the model's or methods' construction raised it; ResourceError where
                the process ends.
        """
        how = ""
        for _ in range(_TRIES):
            if self._process is not None and self._known is not None:
                return self._known
            self._check()
            self._begin()
            message, _, _ = self._next(max(self.seconds, _BUILD_SECONDS))
            if message is None:
                how = self._end()
                continue
            if self._known not in (None, message["ready"]):
                raise InputError(
                    "a model that was built again is not the same: give its function a seed, or "
                    "weights from a file"
                )
            self._known = message["ready"]
            return message["ready"]  # type: ignore[no-any-return]
        raise ResourceError(f"a worker {how} while it built the model, {_TRIES} times")

    def make(self, job: Job) -> dict[str, Any]:
        """Make a shard; see `Maker.make`.

        Raises:
            InterpretError: as the making raised it, such as ResourceError for a full disk.
        """
        job = replace(job, refused=dict(job.refused))
        ends: Counter[tuple[str, tuple[int, ...]]] = Counter()
        while True:
            self.start()
            self._send(asdict(job))
            message, step, pictures = self._next(self.seconds)
            if message is not None:
                found: dict[str, Any] = message["done"]
                return found
            how = self._end()
            self._check()
            ends[step, pictures] += 1
            if ends[step, pictures] < 2:
                continue
            if not pictures:
                if ends[step, pictures] >= _TRIES:
                    raise ResourceError(f"a worker {how} {_TRIES} times over shard {job.shard}")
            elif step == READING:
                job.refused[str(pictures[0])] = f"the process that read the picture {how}"
            elif job.batch_size > 1:
                job.batch_size //= 2
            else:
                name = step.partition("\t")[0]
                job.refused[f"{pictures[0]} {name}"] = (
                    f"the process {how} in {step.replace(chr(9), ', ')}"
                )

    def stop(self) -> None:
        """End the process, whatever it does; `make` in another thread then raises."""
        self._stopped = True
        process = self._process
        if process is not None:  # a thread that waits for it sees its end
            process.kill()

    def close(self) -> None:
        """End the process, which no other thread waits for any more."""
        self.stop()
        self._end()

    def _check(self) -> None:
        if self._stopped:
            raise ResourceError("the worker was stopped")

    # -- the process ------------------------------------------------------------------------------

    def _begin(self) -> None:
        threads = str(self.plan.threads)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        # Modules must be found where they are for this process: in the current directory, which
        # Python looks through first for `-c` and for `-m`, only if it is on its path.
        paths = os.pathsep.join(path or os.getcwd() for path in self.plan.path)
        environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": paths}
        try:
            process = subprocess.Popen(
                [
                    sys.executable, "-c",
                    "import sys; sys.path[:] = [path for path in sys.path if path]; "
                    "from interpretdl.runs.process import main; main()",
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                start_new_session=True,  # Ctrl-C is for this process, which tells the others
            )  # fmt: skip
        except OSError as error:
            raise ResourceError(f"cannot start a process: {error.strerror or error}") from error
        self._process, self._answers = process, queue.Queue()
        threading.Thread(target=_listen, args=(process.stdout, self._answers), daemon=True).start()
        self._send(self.plan.as_json())

    def _send(self, message: dict[str, Any]) -> None:
        pipe = self._process and self._process.stdin
        if pipe:
            with contextlib.suppress(OSError):  # it has ended, which `_next` sees
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()

    def _next(self, seconds: float) -> tuple[dict[str, Any] | None, str, tuple[int, ...]]:
        """The next answer, and the step before it; None where the process died or hung."""
        step, pictures = "", ()
        while True:
            try:
                message = self._answers.get(timeout=seconds)
            except queue.Empty:
                self._hung = True
                return None, step, pictures
            if message is None:
                return None, step, pictures
            if "failed" in message:
                self._end()
                raise raised(message["failed"])
            if "step" not in message:
                return message, step, pictures
            step, pictures = message["step"], tuple(message["pictures"])

    def _end(self) -> str:
        """End the process, if it still runs; how it ended, in words."""
        process, self._process = self._process, None
        if process is None:
            return "was stopped"
        hung, self._hung = self._hung, False
        if hung or self._stopped:
            process.kill()
        try:
            code = process.wait(_LAST_SECONDS)  # it closes its pipe a moment before it ends
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        if hung:
            return f"took more than {self.seconds:g} s"
        if code >= 0:
            return f"ended (exit code {code})"
        named = {each.value: each.name for each in signal.Signals}
        return f"was killed ({named.get(-code, -code)})"


def _listen(lines: IO[bytes], answers: queue.Queue[dict[str, Any] | None]) -> None:
    with lines:
        for line in lines:
            try:
                answers.put(json.loads(line))
            except ValueError:  # the line that a killed process was writing
                break
    answers.put(None)


def failure(error: BaseException) -> dict[str, str]:
    """An error as values that another process can raise again."""
    return {"type": type(error).__name__, "message": str(error)}


def raised(failed: dict[str, str]) -> InterpretError:
    """The error of another process."""
    kind = getattr(errors, failed["type"], None)
    if isinstance(kind, type) and issubclass(kind, InterpretError):
        return kind(failed["message"])
    return ResourceError(f"a worker failed: {failed['type']}: {failed['message']}")
