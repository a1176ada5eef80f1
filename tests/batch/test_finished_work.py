"""What a batch has finished stays: pictures that fail, videos that break off, kills while a folder is replaced."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from apps.batch import lock, overlay
from apps.batch.inputs import find_items
from apps.batch.item import Item
from apps.batch.summary import page, totals
from apps.verbs import batch
from vis import files
from vis.errors import OutputError
from vis.formats import tubes


@pytest.fixture
def item(tmp_path: Path, write_clip: Any) -> Item:
    return Item("clip", str(write_clip(tmp_path / "clip.mp4", frames=16)))


def run_json(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return value


def test_a_video_whose_overlay_fails_is_done_with_a_note_and_drawn_by_the_same_command(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path, outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_worker(out=tmp_path / "whole").process(item, tell)

    def refuse(*_args: Any, **_options: Any) -> None:
        raise OutputError("the sound has no end")

    with monkeypatch.context() as patch:
        patch.setattr(overlay, "concat_parts", refuse)
        line = make_worker().process(item, tell)
    assert (line["status"], line["overlay"], line["contact_sheet"]) == ("done", False, True)
    assert line["warnings"] == ["overlay.mp4 is missing: the sound has no end"]
    assert "disk_full" not in line
    folder = tmp_path / "out" / "clip"
    assert run_json(folder)["pictures"] == {
        "state": "failed",
        "missing": {"overlay.mp4": "the sound has no end"},
    }
    there = {path.name for path in folder.iterdir()}
    assert there == {"tubes.json", "results.json", "contact_sheet.png", "run.json"}
    # The contact sheet is the same although the overlay's pieces were of no use.
    whole = (tmp_path / "whole" / "clip" / "contact_sheet.png").read_bytes()
    assert (folder / "contact_sheet.png").read_bytes() == whole
    told = {"name": "clip", "path": item.path, **line}
    text = page({"totals": totals([told], 1.0), "videos": [told]})
    assert "the sound has no end" in text
    assert "clip/overlay.mp4" not in text

    again = make_worker()
    monkeypatch.setattr(again.job.detector, "detect", lambda images: pytest.fail("the detector ran again"))
    assert again.process(item, tell)["status"] == "done"
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert make_worker().process(item, tell)["status"] == "kept"
    assert set(run_json(folder)) == set(run_json(tmp_path / "whole" / "clip"))


def test_without_an_overlay_results_and_sheet_come_at_once(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path, outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(stage: str, frames: int, expected: int | None) -> None:
        if stage == "draw":
            raise KeyboardInterrupt

    folder = tmp_path / "out" / "clip"
    with pytest.raises(KeyboardInterrupt):
        make_worker(overlay=False, chunk=4).process(item, die)
    assert not folder.exists()
    saved = make_worker(overlay=False, chunk=4)
    monkeypatch.setattr(saved.job.detector, "detect", lambda images: pytest.fail("the detector ran again"))
    assert saved.process(item, tell)["status"] == "done"  # its chunks were kept
    assert run_json(folder)["pictures"] == {"state": "drawn"}
    make_worker(overlay=False, out=tmp_path / "whole").process(item, tell)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")

    def refuse(path: Path, *_args: Any, **_options: Any) -> None:
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr(overlay, "write_contact_sheet", refuse)
    line = make_worker(overlay=False, out=tmp_path / "other").process(item, tell)
    sheet = tmp_path / "other" / "clip" / "contact_sheet.png"
    assert line["warnings"] == [f"contact_sheet.png is missing: {sheet}: cannot be written"]
    assert {path.name for path in sheet.parent.iterdir()} == {"tubes.json", "results.json", "run.json"}


@pytest.mark.parametrize(("overlay", "waits"), [(False, 4), (True, 10)])
def test_a_short_video_waits_for_the_disk_a_few_times(
    item: Item, make_worker: Any, tell: Any, monkeypatch: pytest.MonkeyPatch, overlay: bool, waits: int
) -> None:
    """Two for its association, two for a new folder, three for what comes into a folder: a piece; the pictures."""
    told: list[str] = []
    sync, side_by_side = os.fsync, files._side_by_side

    def fsync(handle: int) -> None:
        if threading.current_thread() is threading.main_thread():
            told.append("one")
        sync(handle)

    def together(flushes: Any) -> None:
        told.append(f"{len(flushes)} at once")
        side_by_side(flushes)

    worker = make_worker(overlay=overlay, chunk=50)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "_side_by_side", together)
    assert worker.process(item, tell)["status"] == "done"
    assert len(told) == waits, told


def test_a_disk_that_fills_while_drawing_stops_the_batch_after_the_results(
    item: Item, make_worker: Any, tell: Any, parse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(overlay, "concat_parts", full)
    line = make_worker().process(item, tell)
    assert (line["status"], line["disk_full"]) == ("done", True)
    assert tubes.read(tmp_path / "out" / "clip" / "tubes.json").frames.tolist() == list(range(16))

    from apps.batch import pool
    from apps.batch.events import Event

    monkeypatch.setattr(pool, "run_local", lambda *_, **__: (Event("done", n, "0", line) for n in range(2)))
    args = parse(item.path, "--out", str(tmp_path / "out"))
    with pytest.raises(
        OutputError, match="the disk is full: the pictures of clip could not be drawn, its results"
    ):
        batch.run(args)


def test_a_video_that_changes_its_size_is_done_up_to_there(
    make_worker: Any, tell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from PIL import Image

    for k in range(12):
        (tmp_path / "in").mkdir(exist_ok=True)
        image = np.full((40, 64, 3), 50, np.uint8)
        image[10:30, 4 * k : 4 * k + 20] = 230
        Image.fromarray(image if k < 9 else image[:30]).save(tmp_path / "in" / f"{k:02d}.png")
    item = Item("in", str(tmp_path / "in"))
    line = make_worker().process(item, tell)
    assert (line["status"], line["frames"], line["overlay"]) == ("done", 9, True)
    note = (
        f"only the first 9 frames: {tmp_path / 'in' / '09.png'}: 64x30 pixels where the folder's first image"
    )
    assert line["warnings"][0].startswith(note)
    assert run_json(tmp_path / "out" / "in")["partial"]["frames"] == 9
    kept = make_worker().process(item, tell)
    assert (kept["status"], kept["warnings"]) == ("kept", line["warnings"])

    # Killed after its last chunk, it still knows why the video ended.
    def die(stage: str, frames: int, expected: int | None) -> None:
        if stage == "draw":
            raise KeyboardInterrupt

    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr("apps.batch.work.new_run_folder", die_before_writing)
        with pytest.raises(KeyboardInterrupt):
            make_worker(out=other).process(item, tell)
    assert not (other / "in").exists()
    assert make_worker(out=other).process(item, tell)["warnings"] == line["warnings"]
    with pytest.raises(KeyboardInterrupt):
        make_worker("--min-frames", "7", out=other).process(item, die)
    assert run_json(other / "in")["pictures"] == {"state": "pending"}
    assert run_json(other / "in")["partial"]["frames"] == 9
    strict = make_worker("--strict", out=tmp_path / "strict")
    with pytest.raises(Exception, match="64x30 pixels"):
        strict.process(item, tell)


def die_before_writing(*_args: Any, **_options: Any) -> Any:
    raise KeyboardInterrupt


def test_a_finished_folder_that_was_moved_away_by_a_killed_batch_comes_back(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path
) -> None:
    make_worker().process(item, tell)
    folder = tmp_path / "out" / "clip"
    away = tmp_path / "out" / ".x1y2.old"
    away.mkdir()
    folder.rename(away / "clip")
    lock.clear_leftovers(tmp_path / "out")
    assert not away.exists()
    assert make_worker().process(item, tell)["status"] == "kept"


def test_results_that_do_not_read_are_made_again(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path
) -> None:
    make_worker("--no-overlay", overlay=False).process(item, tell)
    saved = tmp_path / "out" / "clip" / "tubes.json"
    before = saved.read_bytes()
    saved.write_bytes(before[:50])
    assert make_worker().process(item, tell)["status"] == "done"
    assert saved.read_bytes() == before


def test_another_video_of_the_same_name_never_takes_its_folder(
    make_worker: Any, tell: Any, write_clip: Any, tmp_path: Path, outputs: Any
) -> None:
    out = tmp_path / "out"
    days = [write_clip(tmp_path / day / "clip.mp4", frames=14, seed=n).parent for n, day in enumerate("xyz")]

    def names(*folders: Path) -> list[str]:
        items, _ = find_items([str(folder) for folder in folders], out=out)
        for item in items:
            make_worker(overlay=False).process(item, tell)
        return [item.name for item in items]

    assert names(days[0]) == ["clip"]
    first = outputs(out)
    assert names(days[1]) == ["clip-2"]  # the next day's, by itself
    assert names(days[1], days[0]) == ["clip-2", "clip"]
    assert {name: data for name, data in outputs(out).items() if name.startswith("clip/")} == first
    # In whatever order they are given, each keeps its own.
    before = outputs(out)
    assert names(days[2], days[0]) == ["clip.mp4", "clip"]
    assert {name: data for name, data in outputs(out).items() if name in before} == before
    # The same place with other contents is the same video, filmed anew; the same contents elsewhere are it too.
    write_clip(days[0] / "clip.mp4", frames=14, seed=7)
    assert names(days[0]) == ["clip"]
    (tmp_path / "moved").mkdir()
    (days[0] / "clip.mp4").rename(tmp_path / "moved" / "clip.mp4")
    assert names(tmp_path / "moved") == ["clip"]


def test_two_folders_with_one_name_keep_their_places_in_any_order(
    make_worker: Any, tell: Any, write_clip: Any, tmp_path: Path
) -> None:
    days = [write_clip(tmp_path / day / "clip.mp4", frames=3, seed=n).parent for n, day in enumerate("xy")]

    def names(*folders: Path) -> dict[str, str]:
        items, _ = find_items([str(folder) for folder in folders], out=tmp_path / "out")
        return {item.path: item.name for item in items}

    once = names(*days)
    assert sorted(once.values()) == ["clip.mp4", "clip.mp4-2"]
    assert names(*days) == once
    items, _ = find_items([str(day) for day in days], out=tmp_path / "out")
    for item in items:
        make_worker(overlay=False).process(item, tell)
    assert names(*reversed(days)) == once


def test_a_name_that_is_no_text_is_a_video_like_any_other(
    parse: Any, write_clip: Any, tmp_path: Path
) -> None:
    import os

    write_clip(tmp_path / "in" / "fine.mp4", frames=3)
    odd = tmp_path / "in" / os.fsdecode(b"caf\xe9.mp4")
    try:
        write_clip(tmp_path / "clip.mp4", frames=3, seed=1).rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "in" / os.fsdecode(b"br\xf6ken.mp4")).write_bytes(b"no video")
    args = parse(str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--no-overlay")
    assert batch.run(args) == 5
    report = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert {line["name"]: line["status"] for line in report["videos"]} == {
        "br\udcf6ken": "failed",
        "caf\udce9": "done",
        "fine": "done",
    }
    assert json.loads((tmp_path / "out" / "failures.jsonl").read_text())["name"] == "br\udcf6ken"
    assert 'href="caf%E9/' in (tmp_path / "out" / "batch.html").read_text()
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9") / "tubes.json").is_file()


def test_names_that_are_no_utf8_and_links_that_lead_nowhere(
    make_worker: Any, tell: Any, tmp_path: Path
) -> None:
    from PIL import Image

    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (32, 24)).save(str(folder / f"\udcff{index}.png"))
    (folder / "\udcff2.png").unlink()
    (folder / "\udcff2.png").symlink_to("gone.png")
    line = make_worker("--score", "0.9").process(Item("caf\udce9", str(folder)), tell)
    assert (line["status"], line["frames"]) == ("done", 3)
    assert any("1 of 4 images do not decode" in text for text in line["warnings"])
    record = json.loads((tmp_path / "out" / "caf\udce9" / "run.json").read_text())
    assert record["source"]["name"] == "caf\udce9"
    assert record["source"]["files"] == 3
    again = make_worker("--score", "0.9").process(Item("caf\udce9", str(folder)), tell)
    assert again["status"] != "failed"
