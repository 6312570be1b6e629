"""Who makes the shards: this process, processes of this machine, or a Ray cluster.

An engine calls `agree` with what a built model says of itself, which gives the jobs that are left,
and yields what `Maker.make` gives of each.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any

from ..errors import InputError
from .shard import Job, Maker
from .worker import Worker

__all__ = ["Agree", "Engine", "Stop", "in_processes", "in_this_process"]

Agree = Callable[[dict[str, Any]], list[Job]]
Engine = Generator[dict[str, Any], None, None]


class Stop(threading.Event):
    """Set when no further shard is to be begun."""


def in_this_process(maker: Maker, agree: Agree, stop: Stop) -> Engine:
    """One shard after the other, here."""
    for job in agree(maker.describe()):
        if stop.is_set():
            return
        yield maker.make(job)


def in_processes(workers: list[Worker], agree: Agree, stop: Stop) -> Engine:
    """A thread for each worker, which waits for its process.

    Raises:
        InterpretError: the first that a worker raised; the others' shards in hand are given up.
    """
    found: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    first = threading.Lock()
    known: list[dict[str, Any]] = []

    def begin(description: dict[str, Any]) -> None:
        with first:
            if not known:
                for job in agree(description):
                    jobs.put(job)
                known.append(description)
            elif description != known[0]:
                raise InputError(
                    "the workers built different models: give the model's function a seed, or "
                    "weights from a file"
                )

    def work(worker: Worker) -> None:
        try:
            begin(worker.start())
            while not stop.is_set():
                try:
                    job = jobs.get_nowait()
                except queue.Empty:
                    break
                found.put(worker.make(job))
            found.put(None)
        except BaseException as error:
            found.put(error)

    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in workers]
    try:
        for thread in threads:
            thread.start()
        working = len(threads)
        while working:
            one = found.get()
            if isinstance(one, BaseException):
                raise one
            if one is None:
                working -= 1
            else:
                yield one
    finally:
        stop.set()
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.close()
