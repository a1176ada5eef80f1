"""The items of a batch, done by workers here or on a cluster, and the reports of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.batch import lock, pool, summary
from apps.batch.events import Event
from apps.batch.item import Item
from apps.batch.lines import Lines
from apps.batch.sessions import Sessions
from apps.batch.status import Status
from apps.identity import read_record
from vis.errors import OutputError

if TYPE_CHECKING:
    from apps.batch.work import Settings

__all__ = ["Workers", "run_items"]


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work, and when a worker is given up."""

    count: int
    """Worker processes on this machine."""
    limits: pool.Limits
    wanted: int | None = None
    """Actors on a cluster; None: as many as fit."""
    cluster: str | None = None
    """None: processes here; "local": a Ray cluster started here; "ray": the one at ``address``."""
    address: str = "auto"

    @classmethod
    def of(
        cls,
        videos: int,
        *,
        jobs: int | None = None,
        memory_gib: float | None = None,
        stall_seconds: float = 600.0,
        video_seconds: float | None = None,
        cluster: str | None = None,
        address: str = "auto",
    ) -> Workers:
        """As many workers as ``jobs`` says, or one per four cores; never more than there are videos."""
        count = max(1, min(jobs or max(1, _cores() // 4), videos))
        memory = memory_gib * 2**30 if memory_gib else _memory_share(count)
        limits = pool.Limits(
            stall_seconds=stall_seconds,
            video_seconds=video_seconds,
            memory_bytes=None if memory is None else int(memory),
        )
        return cls(count, limits, jobs, cluster, address)

    @property
    def threads(self) -> int:
        """Each worker's share of the cores."""
        return max(1, _cores() // self.count)

    def run(self, items: Sequence[Item], settings: Settings) -> Any:
        """The events of all items, as they happen: a generator."""
        if self.cluster is None:
            return pool.run_local(items, settings, jobs=self.count, limits=self.limits)
        from apps.cluster import run_on_ray

        address = None if self.cluster == "local" else self.address
        return run_on_ray(items, settings, jobs=self.wanted, address=address, limits=self.limits)


def run_items(
    items: Sequence[Item],
    settings: Settings,
    workers: Workers,
    *,
    out: Path,
    passed_over: Sequence[str] = (),
    sets: Sequence[Path] = (),
    merge: str | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Do the items and write the reports; returns ``batch.json``.

    ``out``: the folder of the settings, as it is told. ``passed_over``: files that are no videos, for the report.
    ``sets``: JSON of the sets among the inputs; of one there is a results file too, several would overwrite each
    other's. ``merge``: the format of the one file of all videos. ``retry_failed``: do those alone that failed before.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sigterm_unwinds())
        stack.enter_context(lock.acquire(out))
        lock.clear_leftovers(out)
        sessions = Sessions(out)
        wanted = list(range(len(items)))
        lines = stack.enter_context(contextlib.closing(Lines(out / ".batch", len(items))))
        retried: list[dict[str, Any]] = []
        if retry_failed:
            retried, wanted = _retried(out, items, lines, quiet=quiet)
        failures = summary.Failures(out, items, retried)
        chosen = [items[at] for at in wanted]
        status = Status(chosen, quiet=quiet)
        events = workers.run(chosen, settings) if chosen else (event for event in list[Event]())
        try:
            for event in events:
                status.take(event)
                at = wanted[event.item]
                if event.kind == "done":
                    lines.add(at, {"name": items[at].name, "path": items[at].path, **event.data})
                    if event.data["status"] == "done":
                        sessions.add(event.data["frames"])
                    if event.data.get("disk_full"):
                        raise OutputError(
                            f"{out}: the disk is full: the pictures of {items[at].name} could not be "
                            "drawn, its results are whole. Free some space and run the same command again"
                        )
                elif event.kind == "failed":
                    failures.add(at, event.data)
                    lines.add(at, {**failures.lines[at], "status": "failed"})
        finally:
            events.close()
            status.close()
        lock.clear_leftovers(out)  # of workers and nodes that were lost on the way
        failures.close()
        ordered = list(lines)
        kept = sum(line["status"] == "kept" for line in ordered)
        told: dict[str, Any] = {
            "totals": summary.totals(ordered, *sessions.totals(kept=kept)),
            "passed_over": list(passed_over),
            "videos": ordered,
            **_set_results(out, sets, items),
            **_merged(out, items, merge, sets),
        }
        summary.write_reports(out, told)
    if not quiet:
        _say(out, told)
    return told


def _retried(
    out: Path, items: Sequence[Item], lines: Lines, *, quiet: bool
) -> tuple[list[dict[str, Any]], list[int]]:
    """The failures of before and the places of their videos; ``lines`` gets those of the videos that are done."""
    from apps.batch.work import line_of

    before = {(line["name"], line["path"]): line for line in summary.read_failures(out)}
    wanted = [at for at, item in enumerate(items) if (item.name, item.path) in before]
    for at in set(range(len(items))) - set(wanted):
        record = read_record(out / items[at].name / "run.json")
        if record.get("work"):
            lines.add(at, {"name": items[at].name, "path": items[at].path, **line_of(record, "kept")})
    left = len(items) - len(wanted) - len(lines)
    if not quiet:
        print(f"{len(wanted)} videos failed before and are tried again", file=sys.stderr)
        if left:
            print(f"{left} videos are not done yet: run the same without --retry-failed", file=sys.stderr)
    return [before[items[at].name, items[at].path] for at in wanted], wanted


def _merged(out: Path, items: Sequence[Item], merge: str | None, sets: Sequence[Path]) -> dict[str, Any]:
    if merge is None:
        return {}
    from apps.batch.merge import write_merged

    return {"merged": write_merged(out, items, merge, sets=sets)}


def _say(out: Path, told: Mapping[str, Any]) -> None:
    """Where the report is, what is in one file, and what was not done."""
    failed, passed, merged = told["totals"]["failed"], told["passed_over"], told.get("merged")
    print(f"{out / 'batch.html'}: the report", file=sys.stderr)
    if merged:
        print(f"{merged['file']}: {merged['videos']} videos in one file", file=sys.stderr)
        for sentence in merged["lost"]:
            print(f"  {sentence}", file=sys.stderr)
    if failed:
        print(f"{out / 'failures.jsonl'}: {failed} failures and their reasons", file=sys.stderr)
    if passed:
        print(summary.passed_over(passed), file=sys.stderr)


def _set_results(out: Path, sets: Sequence[Path], items: Sequence[Item]) -> Mapping[str, Any]:
    if len(sets) != 1 or not any(item.video_id is not None for item in items):
        return {}
    from apps.batch.dataset import write_set_results

    mine = [item for item in items if item.video_id is not None]
    return {"set": write_set_results(out, sets[0], mine)}


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory_share(jobs: int) -> float | None:
    """A worker's share of nine tenths of the machine's memory; None where the system does not tell."""
    try:
        return 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / jobs
    except (AttributeError, ValueError, OSError):
        return None


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, by unwinding, with its own exit code."""

    def leave(*_: object) -> None:
        raise SystemExit(143)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # outside of the main thread whoever called decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
