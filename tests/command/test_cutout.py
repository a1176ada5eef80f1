"""``vistubes cutout`` and ``draw``, and ``--overlay`` of the verbs that change saved tubes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from apps.cli import main
from apps.identity import source_identity
from vis import edits, masks
from vis.formats import tubes
from vis.structures import Tube, VideoInfo, VideoResult
from vis.video import VideoReader, VideoWriter, read_alpha

SIZE = (48, 64)


def squares(frame: int) -> list[np.ndarray]:
    """Two objects: one that moves right, one that stands."""
    found = np.zeros((2, *SIZE), np.bool_)
    found[0, 8:24, 4 + 2 * frame : 20 + 2 * frame] = True
    found[1, 30:44, 40:60] = True
    return list(found)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 10.0) as writer:
        for frame in range(8):
            image = np.full((*SIZE, 3), 40, np.uint8)
            for mask, colour in zip(squares(frame), ((220, 60, 60), (60, 60, 220)), strict=True):
                image[mask] = colour
            writer.write(image)
    return tmp_path / "clip.mp4"


def result(frames: list[int], *, with_masks: bool = True) -> VideoResult:
    rows = []
    for at, identity in enumerate((1, 3)):
        shapes = masks.encode_many(np.stack([squares(frame)[at] for frame in frames]))
        boxes = np.stack([masks.bounding_box(shape) for shape in shapes])
        scores = np.ones(len(frames), np.float32)
        rows.append(
            Tube(identity, 0, 1.0, np.array(frames), boxes, scores, tuple(shapes) if with_masks else None)
        )
    video = VideoInfo("clip", *SIZE, num_frames=8, fps=10.0)
    return VideoResult(video, ("thing",), tuple(rows), np.array(frames), np.array(frames) / 10)


@pytest.fixture
def run(tmp_path: Path, clip: Path) -> Path:
    """A run folder of every second frame."""
    tubes.write(tmp_path / "run" / "tubes.json", result([0, 2, 4, 6]))
    (tmp_path / "run" / "run.json").write_text(json.dumps({"source": source_identity(clip)}))
    return tmp_path / "run"


def rgba(path: Path) -> Iterator[np.ndarray]:
    if path.is_dir():
        for file in sorted(path.iterdir()):
            yield np.asarray(Image.open(file))
    elif path.suffix == ".webm":
        yield from (image for _, image in read_alpha(path))
    else:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgba")


@pytest.mark.parametrize("form", ["webm", "png", "prores"])
def test_the_chosen_object_is_cut_out_with_clean_alpha(
    form: str, run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("cut" + {"webm": ".webm", "png": "", "prores": ".mov"}[form])
    assert (
        main(["cutout", str(run), str(clip), "--tubes", "1", "--to", form, "--out", str(out), "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "frames": 4, "tubes": [1]}
    shown = list(rgba(out))
    assert len(shown) == 4
    for image, frame in zip(shown, (0, 2, 4, 6), strict=True):
        np.testing.assert_array_equal(image[..., 3], squares(frame)[0].astype(np.uint8) * 255)
        assert np.abs(image[squares(frame)[0]][:, :3].mean(axis=0) - (220, 60, 60)).max() < 12
    if form == "png":
        assert [p.name for p in sorted(out.iterdir())] == [f"{n:06d}.png" for n in range(4)]  # no gaps


def test_a_feather_is_a_ramp_on_both_sides_of_the_edge(run: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "soft"
    words = [
        "cutout",
        str(run),
        str(clip),
        "--tubes",
        "3",
        "--to",
        "png",
        "--feather",
        "4",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    row = next(rgba(out))[37, :, 3].astype(int).tolist()
    # The object lies on columns 40 to 59: the middle of the ramp is between 39 and 40, four pixels in all.
    assert row[36:44] == [0, 0, 32, 96, 159, 223, 255, 255]


def test_what_cutout_cannot_do_it_says(
    run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(code: int, *words: object) -> str:
        assert main(["cutout", *map(str, words)]) == code
        return capsys.readouterr().err

    assert "no object 2; its ids are 1, 3" in refused(2, run, clip, "--tubes", "2")
    boxes = tmp_path / "boxes.json"
    tubes.write(boxes, result([0], with_masks=False))
    assert "boxes only" in refused(2, boxes, clip)
    assert main(["cutout", str(run), str(clip), "--quiet"]) == 0
    assert (run / "cutout.webm").is_file()  # beside the result, where nothing is named
    assert "--overwrite" in refused(1, run, clip)
    assert main(["cutout", str(run), str(clip), "--overwrite"]) == 0
    (tmp_path / "there").mkdir()
    assert "never replaced" in refused(
        1, run, clip, "--to", "png", "--out", tmp_path / "there", "--overwrite"
    )
    with pytest.raises(SystemExit):
        main(["cutout", str(run), str(clip), "--tubes", "1,x"])
    assert "like 1,3" in capsys.readouterr().err
    short = tmp_path / "short.mp4"
    with VideoWriter(short, SIZE, 10.0) as writer:
        for _ in range(3):
            writer.write(np.zeros((*SIZE, 3), np.uint8))
    err = refused(3, run, short, "--out", tmp_path / "s.webm")
    assert "is not the file that" in err
    assert "2 of the result's 4 frames are in it" in err
    assert not (tmp_path / "s.webm").exists()


def test_any_saved_tubes_are_drawn(
    run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", str(run), str(clip), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == ["overlay.mp4", "contact_sheet.png"]
    both = list(VideoReader(run / "overlay.mp4"))
    assert len(both) == 4
    assert main(["draw", str(run), str(clip)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["draw", str(run), str(clip), "--tubes", "3", "--out", str(tmp_path / "one"), "--quiet"]) == 0
    one = list(VideoReader(tmp_path / "one" / "overlay.mp4"))
    changed = np.abs(one[0].image.astype(int) - both[0].image).max(axis=2) > 40
    assert changed[8:24, 4:20].mean() > 0.3  # object 1 is drawn in the first alone
    raw = next(iter(VideoReader(clip))).image.astype(int)
    drawn = np.abs(one[0].image.astype(int) - raw).max(axis=2) > 20
    assert drawn[32:42, 42:58].mean() > 0.3
    assert drawn[8:24, 4:20].mean() < 0.05


def there(folder: Path) -> bool:
    return (folder / "overlay.mp4").is_file() and (folder / "contact_sheet.png").is_file()


def test_verbs_that_change_tubes_draw_them(run: Path, clip: Path, tmp_path: Path, capsys: Any) -> None:
    linked = tmp_path / "linked"
    assert main(["link", str(run), str(clip), "--out", str(linked), "--min-frames", "1", "--overlay"]) == 0
    assert there(linked)
    assert json.loads((linked / "run.json").read_text())["pictures"] == {"state": "drawn"}
    assert main(["link", str(run), "--out", str(tmp_path / "no"), "--overlay"]) == 2
    base = tubes.read(run / "tubes.json")
    edits.write(tmp_path / "e.json", base, (edits.Delete(tube=3),))
    out = tmp_path / "corrected" / "tubes.json"
    words = ["edit", str(run), str(tmp_path / "e.json"), str(clip), "--out", str(out), "--overlay"]
    assert main(words) == 0
    assert there(out.parent)
    out.unlink()
    assert main(words) == 1  # the pictures of before are not replaced
    assert not out.exists()
    beside = out.parent / "results.json"
    beside.write_text("[]")  # in a run folder stand the results of before the edit
    assert main([*words[:-1], "--overwrite"]) == 0
    assert "1 edit played, 1 tube written to" in capsys.readouterr().err
    assert len(json.loads(beside.read_text())) == len(tubes.read(out).tubes)
    assert main(["convert", str(run), str(tmp_path / "c.json"), "--to", "coco", "--overlay", str(clip)]) == 0
    assert there(tmp_path / "c_overlay")
    capsys.readouterr()


def test_fill_and_the_others_take_overlay_as_it_is_spelled_everywhere() -> None:
    from apps.cli import build_parser

    for verb in ("run", "fill", "refine", "follow"):
        words = ["x", "y"] if verb in ("fill", "refine") else ["x"]
        parser = build_parser(verb)
        assert parser.parse_args([*words, "--overlay"]).no_overlay is False
        assert parser.parse_args([*words, "--no-overlay"]).no_overlay is True
        assert parser.parse_args(words).no_overlay is False
