"""``vistubes follow`` as a user calls it: what it writes, and what it says when a prompt is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import follow_prompts
from apps.cli import main
from apps.follow_prompts import parse
from vis import weights
from vis.errors import UsageError
from vis.formats import davis, tubes
from vis.masks import decode
from vis.structures import VideoInfo
from vis.video import VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of 96 x 128: still noise, and a bright square that walks 4 pixels a frame."""
    path = tmp_path_factory.mktemp("clips") / "square.mp4"
    ground = np.random.default_rng(0).integers(40, 90, (96, 128, 3)).astype(np.uint8)
    with VideoWriter(path, (96, 128), 10.0) as writer:
        for k in range(8):
            image = ground.copy()
            image[30:62, 10 + 4 * k : 42 + 4 * k] = (250, 240, 30)
            writer.write(image)
    return path


def png(path: Path, values: np.ndarray, mode: str = "L") -> Path:
    image = Image.fromarray(values.astype(np.uint8), mode="L")
    if mode == "P":
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(list(range(256)) * 3)
    image.save(path)
    return path


def test_prompts_are_read_as_they_are_spelled() -> None:
    given = parse("point", "10.5,20@7#3")
    assert (given.numbers, given.place.frame, given.place.object_id) == ((10.5, 20.0), 7, 3)
    given = parse("box", "1,2,3,4@4.5s")
    assert (given.numbers, given.place.seconds, given.place.object_id) == ((1.0, 2.0, 3.0, 4.0), 4.5, None)
    assert parse("text", "red car . dog@12").text == "red car . dog"


def test_a_file_with_an_at_sign_is_meant_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mask@3"
    given = parse("mask", str(path))
    assert (given.text, given.place.frame) == (str(tmp_path / "mask"), 3)
    path.write_bytes(b"")
    given = parse("mask", str(path))
    assert (given.text, given.place.frame) == (str(path), None)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("point", "10", "expected x,y in pixels"),
        ("point", "10,x", "expected x,y in pixels"),
        ("box", "1,2,3", "expected x0,y0,x1,y1"),
        ("point", "1,2@", "after @ a frame"),
        ("point", "1,2@-4", "after @ a frame"),
        ("point", "1,2#0", "after # an id from 1"),
        ("mask", "@4", "says nothing before @"),
        ("text", "dog#2", "takes no #id"),
    ],
)
def test_spelling_mistakes_are_told(kind: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(kind, value)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "nothing to follow"),
        (("--point", "10,20@8"), 2, "frame 8 is not among the frames 0 to 7"),
        (("--point", "10,20@99s"), 2, "is not among the frames 0 to 3"),
        (("--point", "10,20@3", "--stride", "2"), 2, "the nearest before it is 2"),
        (("--point", "128,20"), 2, "outside the picture of 128x96"),
        (("--box", "10,10,130,20"), 2, "reaches out of the picture"),
        (("--box", "20,10,10,20"), 2, "the box is empty"),
        (("--not-point", "20,10"), 2, "only --not-point"),
        (("--box", "1,1,9,9#1", "--box", "2,2,9,9#1"), 2, "has a box on frame 0 already"),
        (("--mask", "SMALL"), 3, "the mask is 10x12, the video 128x96"),
        (("--mask", "EMPTY"), 3, "the mask is empty"),
        (("--mask", "TWO#4"), 2, "their values are their ids"),
        (("--mask", "MISSING"), 3, "cannot be read"),
        (("--point", "9,9", "--format", "davis"), 2, "say with --out"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    two = np.zeros((96, 128))
    two[10:20, 10:20], two[40:50, 40:50] = 1, 2
    files = {
        "SMALL": png(tmp_path / "small.png", np.ones((12, 10))),
        "EMPTY": png(tmp_path / "empty.png", np.zeros((96, 128))),
        "TWO": png(tmp_path / "two.png", two, "P"),
        "MISSING": tmp_path / "missing.png",
    }
    given = []
    for word in words:
        head, *tail = word.split("#") if word.split("#")[0] in files else (word,)
        given.append("#".join([str(files.get(head, head)), *tail]))
    out = tmp_path / "out"
    if "--format" not in words:
        given += ["--out", str(out)]
    if "99s" in " ".join(words):
        given += ["--end", "4"]
    assert main(["follow", str(clip), *given]) == code
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    assert not out.exists()


def need_weights() -> None:
    if not weights.cached(weights.WEIGHTS["mobile-sam"]):
        pytest.skip("mobile-sam is not in the cache: vistubes models fetch mobile-sam")


@pytest.mark.slow
def test_a_label_image_gives_palette_images_with_its_ids(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_weights()
    truth = np.zeros((96, 128))
    truth[30:62, 26:58] = 6  # the square on frame 4
    mask, out = png(tmp_path / "m.png", truth, "P"), tmp_path / "davis"
    words = ["follow", str(clip), "--mask", f"{mask}@4", "--stride", "2", "--format", "davis"]
    assert main([*words, "--out", str(out), "--quiet", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == 4
    result = davis.read(out)
    assert [tube.id for tube in result.tubes] == [6]
    assert result.tubes[0].frames.tolist() == [0, 2, 4, 6]
    for frame, found in zip(result.tubes[0].frames, result.tubes[0].masks or (), strict=True):
        square = np.zeros((96, 128), np.bool_)
        square[30:62, 10 + 4 * frame : 42 + 4 * frame] = True
        dense = decode(found)
        assert (dense & square).sum() / (dense | square).sum() > 0.85, frame


def request(*words: str, size: tuple[int, int] = (96, 128)) -> follow_prompts.Request:
    given = follow_prompts.parse_all([tuple(word.split(" ", 1)) for word in words])  # type: ignore[misc]
    selection = follow_prompts.FollowedFrames(0, 8, 1, lambda _: 0)
    found = [((1.0, 1.0, 9.0, 9.0), "car")]
    return follow_prompts.build_request(given, VideoInfo("x", *size), selection, find=lambda *_: found)


def test_objects_are_called_as_label_says() -> None:
    two = request("point 5,5#1", "point 50,50#4", "text car")
    assert follow_prompts.class_names(two) == ("object", "car")
    named = follow_prompts.labelled(two, ["dog#4"])
    assert (dict(named.labels), follow_prompts.class_names(named)) == (
        {2: "car", 4: "dog"},
        ("object", "car", "dog"),
    )
    named = follow_prompts.labelled(two, ["red fox", "dog#4"])
    assert dict(named.labels) == {1: "red fox", 2: "car", 4: "dog"}  # what a text found keeps its name
    assert "object" not in follow_prompts.class_names(named)
    assert dict(follow_prompts.labelled(two, ["van#2"]).labels)[2] == "van"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (["dog#7"], "no object has this id; they are 1"),
        ([""], "expected a name"),
        (["#1"], "expected a name"),
        (["dog#0"], "expected a name"),
        (["a#b"], "expected a name"),
        (["dog", "cat"], "all objects has a name already, 'dog'"),
        (["dog#1", "cat#1"], "object 1 has a name already"),
    ],
)
def test_a_label_that_cannot_be_meant_so(label: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        follow_prompts.labelled(request("point 5,5"), label)


def test_weights_are_those_of_the_texts_detector(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import detectors

    asked: list[dict[str, object]] = []

    def create(name: str, **options: object) -> None:
        asked.append({"name": name, **options})
        raise UsageError("enough")

    monkeypatch.setattr(detectors, "create", create)
    words = ["follow", str(clip), "--out", str(tmp_path / "x"), "--quiet", "--weights", str(tmp_path)]
    assert main([*words, "--text", "dog"]) == 2
    assert (asked[0]["name"], asked[0]["weights"]) == ("text", str(tmp_path))
    assert main([*words, "--point", "5,5"]) == 2
    assert "no text is given" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_folder_of_two_objects(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_weights()
    out = tmp_path / "run"
    words = ["follow", str(clip), "--point", "24,46", "--box", "60,70,90,92@0#9", "--end", "2"]
    words += ["--label", "juggler", "--label", "ball#9"]
    assert main([*words, "--no-overlay", "--out", str(out), "--quiet", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["options"]["prompts"] == ["--point 24,46", "--box 60,70,90,92@0#9"]
    assert {"run.json", "tubes.json", "results.json", "contact_sheet.png"} <= {p.name for p in out.iterdir()}
    result = tubes.read(out / "tubes.json")
    assert {tube.id: result.class_names[tube.label] for tube in result.tubes} == {1: "juggler", 9: "ball"}
    assert record["options"]["label"] == ["juggler", "ball#9"]
