"""The same batch on two Ray nodes, one of which is killed in the middle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.batch import lock
from apps.batch.inputs import find_items
from apps.batch.pool import Limits
from apps.verbs import batch

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture
def clips(tmp_path: Path, write_clip: Any) -> Path:
    for seed in range(3):
        write_clip(tmp_path / "in" / f"clip{seed}.mp4", frames=24, seed=seed)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video")
    return tmp_path / "in"


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'vis-tubes[cluster]'")
    cluster = _start_two_nodes()
    yield cluster
    cluster.shutdown()


def _start_two_nodes(attempts: int = 4) -> Any:
    """Ray gives a node 30 s to come up, whatever else the machine does: on a busy one, try again."""
    from ray.cluster_utils import Cluster

    for left in reversed(range(attempts)):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20)
            cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
            return cluster
        except Exception as error:
            cluster.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def halfway_actor(meeting: Path) -> type:
    """An actor that waits in the middle of its node's first video until it may go on.

    Under ``meeting``: a file per node that is in the middle, ``go-on-NODE`` from the test, ``told`` with a line
    per chunk. Made here, and not at the top of this module, so that Ray sends it to its workers by value.
    """
    from apps.cluster import VideoActor

    class HalfwayActor(VideoActor):
        def _report_progress(self, stage: str, frames: int, expected: int | None) -> None:
            import time

            import ray

            super()._report_progress(stage, frames, expected)
            with (meeting / "told").open("a") as file:
                file.write(f"{self._name} {stage} {frames}\n")
            node = str(ray.get_runtime_context().get_node_id())
            here = meeting / node
            if stage == "tubes" and not here.exists():
                here.touch()
                until = time.monotonic() + 240
                while not (meeting / f"go-on-{node}").exists() and time.monotonic() < until:
                    time.sleep(0.02)

        def process(self, item: Any) -> tuple[str, Any]:
            self._name = item.name
            return super().process(item)

    return HalfwayActor


class KillsANode(threading.Thread):
    """Once every node is in the middle of a video, removes one as a power cut would, and lets the rest go on."""

    def __init__(self, cluster: Any, meeting: Path) -> None:
        super().__init__(daemon=True)
        self.cluster, self.meeting = cluster, meeting
        self.killed = False

    def run(self) -> None:
        nodes = self.cluster.list_all_nodes()
        until = time.monotonic() + 240
        while not all((self.meeting / node.node_id).exists() for node in nodes):
            if time.monotonic() > until:
                return
            time.sleep(0.02)
        victim = next(node for node in nodes if not node.head)
        self.cluster.remove_node(victim, allow_graceful=False)
        self.killed = True
        # A worker may outlive its node by a moment: the victim's is never told to go on.
        for node in nodes:
            if node is not victim:
                (self.meeting / f"go-on-{node.node_id}").touch()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_two_nodes_give_what_one_process_gives_even_when_one_is_killed(
    two_nodes: Any, clips: Path, parse: Any, tmp_path: Path, outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps import cluster

    items, _ = find_items([str(clips)])
    here = parse(str(clips), "--out", str(tmp_path / "here"), "--jobs", "1")
    assert batch.run(here) == 5

    there = parse(str(clips), "--out", str(tmp_path / "there"), "--jobs", "2")
    (tmp_path / "there" / ".batch").mkdir(parents=True)
    settings = replace(
        batch.settings_of(there, batch.workers_of(there, len(items))), threads=1
    )  # the nodes have one core each
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    monkeypatch.setattr(cluster, "VideoActor", halfway_actor(meeting))
    killer = KillsANode(two_nodes, meeting)
    killer.start()
    events = list(cluster.run_on_ray(items, settings, jobs=None, address=two_nodes.address, limits=Limits()))
    killer.join()
    assert killer.killed
    ended = {event.item: event for event in events if event.kind in ("done", "failed")}
    assert sorted(ended) == list(range(len(items)))
    failed = [items[item].name for item, event in ended.items() if event.kind == "failed"]
    assert failed == ["broken"]
    # Of the video that the killed node had in hand, not even a finished chunk was done twice.
    told = [line for line in (meeting / "told").read_text().splitlines() if " tubes " in line]
    want = [f"clip{seed} tubes {frames}" for seed in range(3) for frames in (4, 8, 12, 16, 20, 24, 24)]
    assert sorted(told) == sorted(want)  # six chunks of four frames, and an empty last one
    begun = [items[event.item].name for event in events if event.kind == "start"]
    assert len(begun) == len(items) + 1  # that video began twice
    lock.clear_leftovers(tmp_path / "there")  # as the command does at its end
    files = {name: data for name, data in outputs(tmp_path / "here").items() if name != "failures.jsonl"}
    assert len(files) == 3 * 4
    assert outputs(tmp_path / "there") == files


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_a_cluster_started_here_runs_the_command(
    clips: Path, parse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'vis-tubes[cluster]'")
    for number in (1, 2):
        (clips / f"clip{number}.mp4").unlink()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # another cluster, which "local" does not mean
    args = parse(str(clips), "--out", str(tmp_path / "out"), "--jobs", "1", "--cluster", "local")
    assert batch.run(args) == 5
    assert (tmp_path / "out" / "clip0" / "run.json").is_file()
    assert '"broken"' in (tmp_path / "out" / "failures.jsonl").read_text()
