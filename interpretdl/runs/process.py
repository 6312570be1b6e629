"""The process of a worker: jobs come in as lines of JSON, and lines of JSON say what it does.

Not multiprocessing: its children run the user's script again, and a script that lacks
`if __name__ == "__main__"` then starts a run of its own.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from typing import IO, Any

from ..errors import InterpretError, InterpretWarning
from ..progress import show_progress
from .plan import Plan
from .shard import Job, Maker
from .worker import failure

__all__ = ["main"]


def _jobs(lines: IO[bytes]) -> queue.Queue[dict[str, Any]]:
    """What arrives, read by a thread; where the other end is gone, this process ends at once."""
    found: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in lines:
            found.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return found


def main() -> None:
    """Build the model of the plan that comes first, then make the shards that are asked for."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what a model prints must not come between
    lines = os.fdopen(os.dup(0), "rb")
    jobs = _jobs(lines)

    def say(**message: Any) -> None:
        try:
            print(json.dumps(message), file=answers, flush=True)
        except OSError:  # nobody listens
            os._exit(0)

    def step(name: str, pictures: Sequence[int]) -> None:
        say(step=name, pictures=list(pictures))

    said: list[str] = []
    show = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, InterpretWarning):
            said.append(str(message))
        else:
            show(message, category, *where, **more)

    warnings.showwarning = keep
    plan = jobs.get()
    sys.path[:] = [*plan["path"], *(each for each in sys.path if each not in plan["path"])]
    try:
        show_progress(False)
        maker = Maker(Plan(**plan))
        say(ready=maker.describe())
        while True:
            say(done={**maker.make(Job(**jobs.get()), step), "warnings": said})
            said.clear()
    except InterpretError as error:
        say(failed=failure(error))
    except Exception as error:
        traceback.print_exc()
        say(failed=failure(error))
