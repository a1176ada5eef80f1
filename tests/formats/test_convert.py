"""``vistubes convert``: one file, many files, what is lost, and what is refused."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.verbs import convert
from vis.errors import UsageError
from vis.formats import coco, tubes
from vis.structures import VideoResult


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    convert.configure(parser)
    return convert.run(parser.parse_args(words))


def test_a_run_folder_becomes_a_file_and_comes_back(
    busy: VideoResult, tmp_path: Path, same: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tubes.write(tmp_path / "run" / "tubes.json", busy)
    assert call(str(tmp_path / "run"), str(tmp_path / "c.json"), "--to", "coco", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"videos": 1, "tubes": 2, "lost": {str(tmp_path / "c.json"): []}}
    assert call(str(tmp_path / "c.json"), str(tmp_path / "t.json"), "--from", "coco", "--to", "tubes") == 0
    same(tubes.read(tmp_path / "t.json"), busy)


def test_many_videos_become_one_file_or_a_folder_of_files(busy: VideoResult, tmp_path: Path) -> None:
    names = ("a", "a", "../up", "=x")
    for place, name in enumerate(names):
        tubes.write(tmp_path / f"{place}.json", replace(busy, video=replace(busy.video, name=name)))
    inputs = [str(tmp_path / f"{place}.json") for place in range(4)]
    call(*inputs, str(tmp_path / "all.json"), "--to", "coco")
    assert len(coco.read(tmp_path / "all.json")) == 4
    call(*inputs, str(tmp_path / "out"), "--to", "mot")
    # Names from files never leave the folder that was asked for.
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["_up.txt", "_x.txt", "a-2.txt", "a.txt"]


def test_losses_are_said_to_people_too(
    busy: VideoResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tubes.write(tmp_path / "t.json", busy)
    call(str(tmp_path / "t.json"), str(tmp_path / "d"), "--to", "davis")
    out, err = capsys.readouterr()
    assert out == ""
    assert "lost to overlap" in err
    assert "scores of tubes are lost" in err


def test_what_cannot_be_meant_is_refused(busy: VideoResult, tmp_path: Path) -> None:
    source = tmp_path / "t.json"
    tubes.write(source, busy)
    with pytest.raises(UsageError, match="--overwrite"):
        call(str(source), str(source), "--to", "coco")
    (tmp_path / "m.txt").write_text("1,1,0,0,5,5,1\n")
    with pytest.raises(UsageError, match="--size"):
        call(str(tmp_path / "m.txt"), str(tmp_path / "o"), "--from", "mot", "--to", "tubes")
    with pytest.raises(UsageError, match="give height and width"):
        call(str(tmp_path / "m.txt"), str(tmp_path / "o"), "--from", "mot", "--to", "tubes", "--size", "12")
    with pytest.raises(UsageError, match="--truth"):
        call(str(source), str(tmp_path / "o"), "--from", "ytvis-results", "--to", "tubes")
    with pytest.raises(UsageError, match="3=dog"):
        call(str(source), str(tmp_path / "o"), "--from", "mots", "--to", "tubes", "--classes", "dog")


def test_every_format_writes_and_reads_by_its_name(busy: VideoResult, tmp_path: Path) -> None:
    source = tmp_path / "t.json"
    tubes.write(source, busy)
    truth = str(tmp_path / "from-ytvis")
    for name in convert.FORMATS:
        target = tmp_path / f"from-{name}"
        call(str(source), str(target), "--to", name)
        back = tmp_path / f"back-{name}.json"
        call(str(target), str(back), "--from", name, "--to", "tubes", "--size", "12x17", "--truth", truth)
        assert len(tubes.read(back).tubes) == 2
