"""The same batch on two Ray nodes, one of which is killed in the middle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps import batch
from apps.batch import lock
from apps.batch.inputs import find_items
from apps.batch.pool import Limits

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture
def clips(tmp_path: Path, write_clip: Any) -> Path:
    for seed in range(5):
        write_clip(tmp_path / "in" / f"clip{seed}.mp4", frames=24, seed=seed)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video")
    return tmp_path / "in"


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'vis-tubes[cluster]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20},
    )
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_two_nodes_give_what_one_process_gives_even_when_one_is_killed(
    two_nodes: Any, clips: Path, parse: Any, tmp_path: Path, outputs: Any
) -> None:
    from apps.cluster import run_on_ray

    items, _ = find_items([str(clips)])
    here = parse(str(clips), "--out", str(tmp_path / "here"), "--jobs", "1")
    assert batch.run(here) == 5

    there = parse(str(clips), "--out", str(tmp_path / "there"), "--jobs", "2")
    (tmp_path / "there" / ".batch").mkdir(parents=True)
    settings = batch._settings(there, len(items))
    events, begun, killed = [], set(), False
    for event in run_on_ray(items, settings, jobs=None, address=two_nodes.address, limits=Limits()):
        events.append(event)
        begun |= {event.worker} if event.kind == "progress" else set()
        if len(begun) == 2 and not killed:
            killed = True
            victim = next(node for node in two_nodes.list_all_nodes() if not node.head)
            two_nodes.remove_node(victim, allow_graceful=False)
    ended = {event.item: event for event in events if event.kind in ("done", "failed")}
    assert sorted(ended) == list(range(len(items)))
    failed = [items[item].name for item, event in ended.items() if event.kind == "failed"]
    assert failed == ["broken"]
    lock.clear_leftovers(tmp_path / "there")  # as the command does at its end
    want = {name: data for name, data in outputs(tmp_path / "here").items() if name != "failures.jsonl"}
    assert outputs(tmp_path / "there") == want
    if not killed:
        # How soon Ray starts an actor on the second node is not ours to decide. All of the above holds
        # without it; only that a killed node is survived has then not been tried, and this says so.
        pytest.skip(
            "one node had done all the work before the other was up: outputs agree, nothing was killed"
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_a_cluster_started_here_runs_the_command(clips: Path, parse: Any, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'vis-tubes[cluster]'")
    args = parse(str(clips), "--out", str(tmp_path / "out"), "--jobs", "1", "--cluster", "local")
    assert batch.run(args) == 5
    assert (tmp_path / "out" / "clip4" / "run.json").is_file()
    assert '"broken"' in (tmp_path / "out" / "failures.jsonl").read_text()
