"""The shards of a run, made by a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ..errors import InputError, InterpretError, ResourceError, warn
from .engines import Agree, Engine, Stop
from .missing import needed
from .plan import Plan
from .shard import Job
from .worker import Worker, failure, raised

__all__ = ["on_ray"]

_LONGEST = 1.0  # seconds until Ctrl-C is seen
_REACH_SECONDS = 10.0
_PATIENCE_SECONDS = 30.0  # until it is said that workers wait for a CPU


class Actor:
    """A worker on some node. It watches its process as elsewhere, and Ray watches it."""

    def __init__(self, plan: dict[str, Any], seconds: float) -> None:
        self._worker = Worker(Plan(**plan), seconds)

    def start(self) -> dict[str, Any]:
        """The description of the model, or "failed"."""
        try:
            return self._worker.start()
        except InterpretError as error:
            return {"failed": failure(error)}

    def make(self, job: Job) -> dict[str, Any]:
        """What a shard's making gives, or "failed"."""
        try:
            return self._worker.make(job)
        except InterpretError as error:
            return {"failed": failure(error)}


def on_ray(
    address: str, plan: Plan, workers: int, seconds: float, agree: Agree, stop: Stop
) -> Engine:
    """Actors, each with one model; one that dies is started again, and its shard too.

    Those that have a model begin, also where the cluster has no CPUs yet for the others.

    Args:
        address: of a cluster; "local" starts one here, which ends with the run.

    Raises:
        InputError: this process is connected to another cluster.
        ResourceError: Ray is missing, cannot be reached, or gives a worker up.
        InterpretError: the first that a worker raised.
    """
    with needed("Ray", "ray"), _quiet():
        import ray

    with _connected(ray, address, workers, plan.threads):
        kind = ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=plan.threads)(Actor)
        actors = [
            kind.options(
                runtime_env={"env_vars": {"OMP_NUM_THREADS": str(plan.threads)}}
            ).remote(plan.as_json(), seconds)
            for _ in range(workers)
        ]  # fmt: skip
        try:
            yield from _made(ray, actors, plan.threads, agree, stop)
        except ray.exceptions.RayError as error:
            last = f"{error}".strip().rpartition("\n")[2]
            raise ResourceError(f"Ray gave a worker up: {last}") from error
        finally:
            for actor in actors:
                ray.kill(actor)


def _made(ray: Any, actors: list[Any], threads: int, agree: Agree, stop: Stop) -> Engine:
    placed = [actor.__ray_ready__.remote() for actor in actors]
    building = {actor.start.remote(): actor for actor in actors}
    making: dict[Any, Any] = {}
    free: list[Any] = []
    known: dict[str, Any] | None = None
    jobs: list[Job] = []
    began, told = time.monotonic(), False
    while True:
        while jobs and free and not stop.is_set():
            actor = free.pop()
            making[actor.make.remote(jobs.pop())] = actor
        if not making and (stop.is_set() or (known is not None and not jobs)):
            return  # though others may still wait for a CPU
        ready, _ = ray.wait([*building, *making], timeout=_LONGEST)
        for each in ready:
            found = ray.get(each)
            if "failed" in found:
                raise raised(found["failed"])
            if each in making:
                free.append(making.pop(each))
                yield found
                continue
            free.append(building.pop(each))
            if known is None:
                known, jobs = found, agree(found)[::-1]
            elif found != known:
                raise InputError(
                    "the workers built different models: give the model's function a seed, or "
                    "weights from a file"
                )
        if not told and time.monotonic() - began > _PATIENCE_SECONDS:
            told = True
            _, waiting = ray.wait(placed, num_returns=len(placed), timeout=0)
            idle = ray.available_resources().get("CPU", 0)
            if waiting and idle < threads:
                there = ray.cluster_resources().get("CPU", 0)
                warn(
                    f"{len(waiting)} of {len(actors)} workers have not begun: each takes {threads} "
                    f"of the Ray cluster's CPUs, which are {there:g}, {idle:g} of them free"
                )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray reports to its makers unless this is set when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    yield


@contextlib.contextmanager
def _connected(ray: Any, address: str, workers: int, threads: int) -> Iterator[None]:
    """A connection, which ends with the block if this began it."""
    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if address not in ("local", "auto", there):
            raise InputError(
                f"this process is connected to Ray at {there}, not at {address!r}: give 'auto' to "
                "use that, or call ray.shutdown() before"
            )
        yield
        return
    _check_there(address)
    local: dict[str, Any] = {"num_cpus": workers * threads, "include_dashboard": False}
    try:
        ray.init(
            address=address, log_to_driver=False,
            logging_level="ERROR", **(local if address == "local" else {}),
        )  # fmt: skip
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise ResourceError(f"cannot reach Ray at {address!r}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_there(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), _REACH_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ResourceError(f"cannot reach Ray at {address!r}: {error}") from error
