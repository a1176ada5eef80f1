"""A night's batch as its user sees it: one merged file, totals that last, failures alone again, a look ahead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.batch import pool
from apps.batch.events import Event, run_item
from apps.batch.sessions import Sessions
from apps.batch.work import Worker
from apps.verbs import batch, convert
from vis.formats import coco, ytvis_set
from vis.formats.registry import FORMATS


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch, tell: Any) -> None:
    def run_local(items: Any, settings: Any, **_: Any) -> Iterator[Event]:
        worker = Worker(settings)
        for at, item in enumerate(items):
            yield Event("start", at, "0")
            kind, data = run_item(worker, item, tell)
            yield Event(kind, at, "0", data)

    monkeypatch.setattr(pool, "run_local", run_local)


@pytest.fixture
def clips(tmp_path: Path, write_clip: Any) -> Path:
    for seed, name in enumerate(("day1/dog", "day2/dog")):
        write_clip(tmp_path / "in" / f"{name}.mp4", frames=16, seed=seed)
    return tmp_path / "in"


def report(out: Path) -> Any:
    return json.loads((out / "batch.json").read_text())


def states(parse: Any, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, tuple[str, str]]:
    capsys.readouterr()
    assert batch.run(parse(*words, "--dry-run", "--json")) == 0
    rows = json.loads(capsys.readouterr().out)["videos"]
    return {row["name"]: (row["state"], row["why"]) for row in rows}


@pytest.mark.parametrize("name", ["coco", "ytvis"])
def test_one_file_of_all_videos_named_by_their_place(
    name: str, clips: Path, parse: Any, tmp_path: Path
) -> None:
    (clips / "day2" / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    assert batch.run(parse(str(clips), "--out", str(out), "--merge", name)) == 5
    merged = report(out)["merged"]
    assert merged["file"] == str(out / f"{name}.json")
    assert (merged["videos"], merged["missing_videos"]) == (2, ["day2/broken"])
    results = (coco.read if name == "coco" else ytvis_set.read_truth)(out / f"{name}.json")
    assert [result.video.name.split("/")[-1] for result in results] == ["dog", "dog"]
    assert len({result.video.name for result in results}) == 2
    assert all(result.tubes for result in results)
    # What convert makes of the folder is the same file.
    words = [str(out), str(tmp_path / "again.json"), "--to", name]
    import argparse

    parser = argparse.ArgumentParser()
    convert.configure(parser)
    assert convert.run(parser.parse_args(words)) == 0
    assert (tmp_path / "again.json").read_bytes() == (out / f"{name}.json").read_bytes()


def test_the_formats_that_merge_are_those_that_stand_alone() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    batch.configure(parser)
    (action,) = [action for action in parser._actions if action.dest == "merge"]
    assert action.choices is not None
    assert set(action.choices) == {name for name, row in FORMATS.items() if row.many and row.names_frames}


def test_a_rerun_with_nothing_to_do_keeps_the_totals_of_the_night(
    clips: Path, parse: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (str(clips), "--out", str(out))
    assert batch.run(parse(*words)) == 0
    assert (out / "failures.jsonl").read_bytes() == b""
    night = report(out)["totals"]
    (out / ".batch" / "sessions.json").unlink()  # as a version before this file left it
    for _ in range(2):
        assert batch.run(parse(*words)) == 0
        morning = report(out)["totals"]
        assert (morning["done"], morning["kept"]) == (0, 2)
        for name in ("seconds", "frames_per_second", "frames", "tubes", "seconds_per_stage"):
            assert morning[name] == night[name], name


def test_the_runs_of_a_night_add_up(tmp_path: Path) -> None:
    now = [0.0]
    first = Sessions(tmp_path, clock=lambda: now[0])
    now[0] = 100.0
    first.add(50)  # and killed
    second = Sessions(tmp_path, clock=lambda: now[0])
    now[0] = 130.0
    second.add(20)
    now[0] = 140.0
    assert second.totals(kept=1) == (140.0, 70)
    idle = Sessions(tmp_path, clock=lambda: now[0])
    now[0] = 999.0
    assert idle.totals(kept=2) == (140.0, 70)
    anew = Sessions(tmp_path, clock=lambda: now[0])
    now[0] = 1009.0
    anew.add(70)
    assert anew.totals(kept=0) == (10.0, 70)
    assert Sessions(tmp_path).totals(kept=2) == (10.0, 70)


def test_failed_videos_alone_are_tried_again(
    clips: Path, parse: Any, tmp_path: Path, write_clip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "bad.mp4").write_bytes(b"no video")
    (clips / "worse.mp4").write_bytes(b"no video either")
    out = tmp_path / "out"
    words = (str(clips), "--out", str(out))
    assert batch.run(parse(*words)) == 5
    assert {n: s for n, (s, _) in states(parse, capsys, *words).items()} == {
        "bad": "retry",
        "worse": "retry",
        "day1/dog": "kept",
        "day2/dog": "kept",
    }
    write_clip(clips / "bad.mp4", frames=12, seed=5)
    write_clip(clips / "late.mp4", frames=12, seed=6)
    assert states(parse, capsys, *words, "--retry-failed")["late"] == ("skip", "did not fail")
    args = parse(*words, "--retry-failed")
    args.quiet = False
    assert batch.run(args) == 5
    err = capsys.readouterr().err
    assert "2 videos failed before and are tried again" in err
    assert "1 videos are not done yet: run the same without --retry-failed" in err
    told = {line["name"]: line["status"] for line in report(out)["videos"]}
    assert told == {"bad": "done", "day1/dog": "kept", "day2/dog": "kept", "worse": "failed"}
    (line,) = (out / "failures.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == "worse"
    (clips / "worse.mp4").unlink()
    (out / "failures.jsonl").write_text("")
    assert batch.run(parse(*words, "--retry-failed")) == 0  # nothing failed: nothing is done
    assert report(out)["totals"]["done"] == 0
    assert not (out / "late").exists()


def test_a_retry_that_is_killed_forgets_no_failure(tmp_path: Path) -> None:
    from apps.batch.item import Item
    from apps.batch.summary import Failures, read_failures

    items = [Item("a", "a.mp4"), Item("b", "b.mp4")]
    before = [{"name": item.name, "path": item.path, "message": "old"} for item in items]
    again = Failures(tmp_path, items, before)
    again.add(0, {"message": "new"})
    with (tmp_path / "failures.jsonl").open("a") as file:
        file.write('{"name": "b", "pa')  # cut off
    assert [(line["name"], line["message"]) for line in read_failures(tmp_path)] == [
        ("a", "new"),
        ("b", "old"),
    ]


def test_a_look_ahead_does_nothing_and_says_what_would_be_done(
    clips: Path, parse: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], write_clip: Any
) -> None:
    out = tmp_path / "out"
    words = (str(clips), "--out", str(out))
    assert states(parse, capsys, *words) == {"day1/dog": ("new", ""), "day2/dog": ("new", "")}
    assert not out.exists()
    assert batch.run(parse(*words)) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert states(parse, capsys, *words) == {"day1/dog": ("kept", ""), "day2/dog": ("kept", "")}
    assert states(parse, capsys, *words, "--no-overlay")["day1/dog"][0] == "draw"
    assert states(parse, capsys, *words, "--min-frames", "3")["day1/dog"] == (
        "again",
        "other options: min_frames",
    )
    assert states(parse, capsys, *words, "--stride", "2")["day1/dog"] == ("again", "other options: stride")
    write_clip(clips / "day1" / "dog.mp4", frames=15, seed=9)
    assert states(parse, capsys, *words)["day1/dog"][0] == "again"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    # People get a line per video and a sum.
    assert batch.run(parse(*words, "--dry-run")) == 0
    text = capsys.readouterr().out
    assert "kept     day2/dog" in text
    assert "2 videos: 1 again, 1 kept" in text


def test_what_was_passed_over_is_told_at_the_end(
    clips: Path, parse: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "notes.txt").touch()
    args = parse(str(clips), "--out", str(clips / "runs"))
    args.quiet = False
    assert batch.run(args) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"passed over, since they are no videos or hold runs: 1: {clips / 'notes.txt'}"
    # The run folders lie among the videos: their overlays are none.
    assert batch.run(args) == 0
    told = report(clips / "runs")
    assert told["totals"]["kept"] == told["totals"]["videos"] == 2
    assert str(clips / "runs") in told["passed_over"]
