"""The shards of a run, made by a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from ..errors import InputError, InterpretError, ResourceError
from .engines import Agree, Engine, Stop
from .missing import needed
from .plan import Plan
from .shard import Job
from .worker import Worker, failure, raised

__all__ = ["on_ray"]

_LONGEST = 1.0  # seconds until Ctrl-C is seen
_REACH_SECONDS = 10.0


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
    """Actors in a pool, each with one model; one that dies is started again, and its shard too.

    Args:
        address: of a cluster; "local" starts one here, which ends with the run.

    Raises:
        ResourceError: Ray is missing, or cannot be reached.
        InterpretError: the first that a worker raised.
    """
    with needed("Ray", "ray"), _quiet():
        import ray
        from ray.util import ActorPool

    with _connected(ray, address, workers, plan.threads):
        kind = ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=plan.threads)(Actor)
        actors = [
            kind.options(
                runtime_env={"env_vars": {"OMP_NUM_THREADS": str(plan.threads)}}
            ).remote(plan.as_json(), seconds)
            for _ in range(workers)
        ]  # fmt: skip
        try:
            found = [_checked(each) for each in ray.get([actor.start.remote() for actor in actors])]
            if any(each != found[0] for each in found):
                raise InputError(
                    "the workers built different models: give the model's function a seed, or "
                    "weights from a file"
                )
            jobs = agree(found[0])[::-1]
            pool = ActorPool(actors)
            while True:
                while jobs and pool.has_free() and not stop.is_set():
                    pool.submit(lambda actor, job: actor.make.remote(job), jobs.pop())
                if not pool.has_next():
                    return
                with contextlib.suppress(TimeoutError):
                    yield _checked(pool.get_next_unordered(timeout=_LONGEST))
        finally:
            for actor in actors:
                ray.kill(actor)


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    if "failed" in found:
        raise raised(found["failed"])
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray reports to its makers unless this is set when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    yield


@contextlib.contextmanager
def _connected(ray: Any, address: str, workers: int, threads: int) -> Iterator[None]:
    """A connection, which ends with the block if this began it."""
    if ray.is_initialized():
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
