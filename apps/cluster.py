"""A batch on a Ray cluster: the same work in actors that hold the models, on as many machines as there are.

Ray schedules; the keys, chunks and run folders are :mod:`apps.batch.work`'s and lie on storage that all
nodes see at the same path. A node that is lost costs the chunks in hand: its videos go on elsewhere.

Ray listens on all interfaces and asks nobody for a password: see docs/cluster.md before using it beyond
one machine.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.batch.events import Event, run_item
from apps.batch.item import Item
from apps.batch.pool import THREAD_VARIABLES, Limits
from vis.errors import DependencyError, OutputError, UsageError, VisError

if TYPE_CHECKING:
    from apps.batch.work import Settings

__all__ = ["run_on_ray"]

POLL_SECONDS = 0.5
"""How often an actor is asked how far it is, whatever the others finish meanwhile."""
ASK_SECONDS = 5.0
"""How long an actor may take to say how far it is, before it is asked again."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a cluster started here: videos and masks never pass through Ray's object store."""


class VideoActor:
    """One worker on some node. ``process`` and ``progress`` run side by side (two threads)."""

    def __init__(self, settings: Settings, token: str) -> None:
        from apps.batch.lock import acquire_as_worker

        self._now: dict[str, Any] = {}
        self._problem: VisError | None = None
        self._worker: Any = None
        if not Path(token).is_file():
            self._problem = UsageError(
                f"{settings.out}: not the same folder on node {os.uname().nodename}; --out must lie on storage that "
                "all nodes mount at the same path"
            )
            return
        acquire_as_worker(Path(settings.out))
        try:
            from apps.batch.work import Worker

            self._worker = Worker(settings)
        except VisError as error:
            self._problem = error

    def process(self, item: Item) -> tuple[str, Any]:
        """Do one video: ("done", line), ("failed", reason), or ("stop", error) when it concerns all."""
        if self._problem is not None:
            return "stop", self._problem
        self._now = {"stage": "start", "frames": 0, "expected": None}
        return run_item(self._worker, item, self._report_progress)

    def progress(self) -> dict[str, Any]:
        """How far the current video is; empty before the first."""
        return self._now

    def _report_progress(self, stage: str, frames: int, expected: int | None) -> None:
        self._now = {"stage": stage, "frames": frames, "expected": expected}


@dataclass(slots=True)
class _Actor:
    """An actor as the driver sees it."""

    name: str
    handle: Any
    item: int | None = None
    answer: Any = None
    """Reference to the result of ``process``."""
    question: Any = None
    """Reference to an answer of ``progress`` on its way."""
    asked: float = 0.0
    told: tuple[Any, ...] = ()
    begun: float = 0.0
    moved: float = 0.0
    """When it last told something new; 0 before it has told anything."""


def run_on_ray(
    items: Sequence[Item], settings: Settings, *, jobs: int | None, address: str | None, limits: Limits
) -> Iterator[Event]:
    """Do all items on the cluster at ``address``, or on one started here when it is None.

    ``jobs`` actors of ``settings.threads`` cores each; None: as many as fit, counted again as nodes come
    and go. Events and errors as of :func:`apps.batch.pool.run_local`.
    """
    ray = _ray(address, settings)
    token = Path(settings.out) / ".batch" / f"cluster-{uuid.uuid4().hex}"
    token.touch()
    pool = ActorPool(ray, settings, str(token))
    try:
        yield from _drive(ray, pool, items, jobs, limits)
    finally:
        for actor in pool.actors:
            pool.kill(actor)
        token.unlink(missing_ok=True)
        ray.shutdown()


class ActorPool:
    """The actors: made, counted, killed."""

    def __init__(self, ray: Any, settings: Settings, token: str) -> None:
        self.ray, self.settings, self.token = ray, settings, token
        self.actors: list[_Actor] = []
        self._made = 0
        variables = dict.fromkeys(THREAD_VARIABLES, str(settings.threads))
        gpus = 1 if settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) else 0
        self._class = ray.remote(
            num_cpus=settings.threads,
            num_gpus=gpus,
            max_concurrency=2,
            max_restarts=0,
            runtime_env={"env_vars": variables},
        )(VideoActor)

    def add(self) -> None:
        """One more actor; Ray puts it where there is room."""
        self.actors.append(_Actor(str(self._made), self._class.remote(self.settings, self.token)))
        self._made += 1

    def room(self) -> int:
        """How many actors the cluster's nodes could hold at this moment, all together."""
        per_node = (node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"])
        return int(sum(cores // self.settings.threads for cores in per_node))

    def kill(self, actor: _Actor) -> None:
        """End an actor wherever it is."""
        with contextlib.suppress(Exception):  # it may be gone with its node
            self.ray.kill(actor.handle)

    def drop(self, actor: _Actor) -> None:
        """Kill an actor and drop it; a new one is made when there is work and room."""
        self.kill(actor)
        self.actors.remove(actor)


def _drive(
    ray: Any, pool: ActorPool, items: Sequence[Item], jobs: int | None, limits: Limits
) -> Iterator[Event]:
    waiting = deque(range(len(items)))
    attempts = [0] * len(items)
    while waiting or any(actor.item is not None for actor in pool.actors):
        idle = sum(actor.item is None for actor in pool.actors)
        most = jobs if jobs is not None else max(1, pool.room())
        while len(pool.actors) < most and idle < len(waiting):
            pool.add()
            idle += 1
        for actor in pool.actors:
            if actor.item is None and waiting:
                actor.item, actor.begun, actor.moved, actor.told = (
                    waiting.popleft(),
                    time.monotonic(),
                    0.0,
                    (),
                )
                actor.answer = actor.handle.process.remote(items[actor.item])
                yield Event("start", actor.item, actor.name)
        # An idle actor keeps its cores; one that waits for cores, its node being lost, may need them.
        for actor in [actor for actor in pool.actors if actor.item is None]:
            pool.drop(actor)
        busy = [actor for actor in pool.actors if actor.item is not None]
        ready, _ = ray.wait([actor.answer for actor in busy], num_returns=1, timeout=POLL_SECONDS)
        for actor in busy:
            item = actor.item
            assert item is not None  # only busy ones are listed
            outcome: tuple[str, Any] | None
            if actor.answer in ready:
                outcome = _outcome(ray, actor)
            else:
                yield from _progress(ray, actor)
                outcome = _overdue(actor, limits)
            if outcome is None:
                continue
            kind, data = outcome
            if kind == "stop":
                raise data if isinstance(data, VisError) else OutputError(str(data))
            actor.item = None
            if kind == "lost":
                pool.drop(actor)
                attempts[item] += 1
                if data["error"] == "WorkerLost" and attempts[item] < limits.attempts:
                    waiting.appendleft(item)
                    continue
                kind, data = "failed", {**data, "attempts": attempts[item]}
            yield Event(kind, item, actor.name, data)


def _outcome(ray: Any, actor: _Actor) -> tuple[str, Any]:
    """What became of the actor's video."""
    try:
        kind, data = ray.get(actor.answer)
        return str(kind), data
    except ray.exceptions.RayError as error:
        # The actor, its process or its whole node is gone.
        return "lost", {"error": "WorkerLost", "message": f"its worker was lost ({type(error).__name__})"}


def _progress(ray: Any, actor: _Actor) -> Iterator[Event]:
    """Ask how far the actor is, without ever waiting for the answer."""
    waited = time.monotonic() - actor.asked
    if waited > (POLL_SECONDS if actor.question is None else ASK_SECONDS):
        actor.question, actor.asked = actor.handle.progress.remote(), time.monotonic()
    if actor.question is None or not ray.wait([actor.question], timeout=0)[0]:
        return
    try:
        now = ray.get(actor.question)
    except ray.exceptions.RayError:
        now = {}
    actor.question = None
    told = tuple(now.values())
    if now and told != actor.told:
        actor.told, actor.moved = told, time.monotonic()
        assert actor.item is not None  # only busy ones are asked
        yield Event("progress", actor.item, actor.name, now)


def _overdue(actor: _Actor, limits: Limits) -> tuple[str, Any] | None:
    now = time.monotonic()
    if actor.moved and now - actor.moved > limits.stall_seconds:
        said = f"no frame was finished in {limits.stall_seconds:.0f} s (--stall)"
    elif actor.moved and limits.video_seconds is not None and now - actor.begun > limits.video_seconds:
        said = f"took longer than {limits.video_seconds:.0f} s (--timeout)"
    else:
        return None
    return "lost", {"error": "Timeout", "message": said}


def _ray(address: str | None, settings: Settings) -> Any:
    """Ray, connected; raises :class:`DependencyError` without it, :class:`UsageError` without a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as library
    except ImportError as error:
        raise DependencyError("--cluster needs Ray; pip install 'vis-tubes[cluster]'") from error
    ray: Any = library  # half of its functions have no types
    quiet = {"logging_level": "error", "log_to_driver": False, "ignore_reinit_error": True}
    try:
        if address is None:
            # "local": else Ray joins whatever cluster it finds on this machine, or in $RAY_ADDRESS.
            ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster at {address!r}; start one with 'ray start --head', or use --cluster local"
        ) from error
    if (
        max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        < settings.threads
    ):
        ray.shutdown()
        raise UsageError(
            f"no node of the cluster has {settings.threads} cores for a worker; give --jobs so that each takes fewer"
        )
    return ray
