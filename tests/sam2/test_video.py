"""Objects carried by a video model's memory: what the library's own session of the whole video gives, held small."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apps.cli import main
from vis import edits, engines
from vis import masks as rle
from vis.errors import PromptError, UsageError
from vis.follow import ObjectState, Prompt, follow, follow_again
from vis.follow.engine import Engine, Interpolator, Propagator
from vis.follow.live import follow_live
from vis.formats import tubes
from vis.pipeline import collect
from vis.structures import Frame, VideoInfo
from vis.video import VideoWriter

transformers = pytest.importorskip("transformers")

FAMILIES = {
    "sam2": ("Sam2VideoModel", "Sam2VideoProcessor", "Sam2ImageProcessor"),
    "edgetam": ("EdgeTamVideoModel", "Sam2VideoProcessor", "Sam2ImageProcessor"),
    "sam3": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor", "Sam3ImageProcessor"),
}
SIZE = (60, 100)
MASK = np.zeros(SIZE, np.bool_)
MASK[15:45, 20:70] = True
PROMPTS = {
    3: Prompt(points=((40.0, 30.0), (80.0, 10.0)), point_labels=(1, 0)),
    5: Prompt(box=(10.0, 8.0, 70.0, 50.0), points=((30.0, 20.0),), point_labels=(1,)),
    9: Prompt(mask=MASK),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(f"{family}_folder"))


@pytest.fixture(scope="module")
def engine(family: str, folder: Path) -> Engine:
    return engines.create(family, model=str(folder), device="cpu")


def film(count: int) -> list[NDArray[np.uint8]]:
    """Smooth random colour that drifts."""
    small = np.random.default_rng(0).integers(0, 255, (6, 14, 3)).astype(np.uint8)
    scene = cv2.resize(small, (SIZE[1] + 40, SIZE[0]), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(np.roll(scene, -2 * t, axis=1)[:, : SIZE[1]]) for t in range(count)]


def frames_of(images: list[NDArray[np.uint8]]) -> list[Frame]:
    return [Frame(index, index / 10, image) for index, image in enumerate(images)]


def through(
    propagator: Propagator, images: Iterable[NDArray[np.uint8]], prompts: dict[int, Prompt]
) -> Iterator[tuple[ObjectState, ...]]:
    for image in images:
        features = propagator.embed(image)
        seen = propagator.step(image, features)
        if not propagator.object_ids:
            seen = tuple(propagator.start(key, image, features, one) for key, one in prompts.items())
        yield seen


def librarys_masks(
    family: str, folder: Path, images: list[NDArray[np.uint8]], prompt: Prompt, at: int
) -> dict[int, NDArray[np.bool_]]:
    """Frame -> mask of one object, both ways from the frame ``at``, by the library's session of the whole video."""
    model_class, processor_class, images_class = (getattr(transformers, name) for name in FAMILIES[family])
    model = model_class.from_pretrained(folder).eval()
    side = model.image_size
    video = {"size": {"height": side, "width": side}}
    if family == "sam3":
        video |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = processor_class(
        images_class.from_pretrained(folder), transformers.Sam2VideoVideoProcessor(**video)
    )
    found = {}
    for reverse in (True, False):
        session = processor.init_video_session(video=images)
        given: dict[str, Any] = {}
        if prompt.mask is not None:
            given["input_masks"] = prompt.mask
        if prompt.points:
            given["input_points"] = [[[list(point) for point in prompt.points]]]
            given["input_labels"] = [[list(prompt.point_labels)]]
        if prompt.box is not None:
            given["input_boxes"] = [[list(prompt.box)]]
        processor.add_inputs_to_inference_session(session, frame_idx=at, obj_ids=4, **given)
        model(session, frame_idx=at)
        for out in model.propagate_in_video_iterator(session, start_frame_idx=at, reverse=reverse):
            assert out.object_ids == [4]
            masks = processor.post_process_masks([out.pred_masks], original_sizes=[list(SIZE)])[0]
            found[out.frame_idx] = masks.numpy().reshape(SIZE)
    return found


@pytest.fixture(scope="module")
def carried(engine: Engine) -> tuple[list[tuple[ObjectState, ...]], ...]:
    """All objects together from frame 3, so that one might disturb another: forwards and backwards."""
    images = film(20)
    return tuple(list(through(engine.propagator(), way, PROMPTS)) for way in (images[3:], images[3::-1]))


@pytest.mark.parametrize("object_id", PROMPTS)
def test_masks_are_those_of_the_librarys_session_of_the_whole_video(
    carried: tuple[list[tuple[ObjectState, ...]], ...], family: str, folder: Path, object_id: int
) -> None:
    at = 3
    expected = librarys_masks(family, folder, film(20), PROMPTS[object_id], at)
    ahead, behind = carried
    place = list(PROMPTS).index(object_id)
    for index in range(20):
        seen = (ahead[index - at] if index >= at else behind[at - index])[place]
        assert seen.object_id == object_id
        if index == at and PROMPTS[object_id].mask is not None:
            np.testing.assert_array_equal(seen.mask, MASK)  # as it is, where the library smooths it
        else:
            # Pictures go through the library's processor of images here, of videos there.
            assert (seen.mask != expected[index]).mean() < 0.002, index
            assert seen.lost == (not seen.mask.any())
    assert any(mask.any() and not mask.all() for mask in expected.values())


def test_what_is_held_does_not_grow(engine: Engine, family: str) -> None:
    """Bytes of all tensors in the sessions, of an object from the first picture and one that comes later."""
    propagator: Any = engine.propagator()
    assert isinstance(propagator, Propagator)
    assert not isinstance(propagator, Interpolator)
    early, late = (60, 300) if family == "sam2" else (20, 40)  # the same code holds for all
    pictures = [(image, propagator.embed(image)) for image in film(3)]
    held = []
    for index in range(late + 1):
        image, features = pictures[index % 3]
        propagator.step(image, features)
        if index in (0, 4):
            propagator.start(1 + index, image, features, PROMPTS[9])
        if index == early:
            propagator.stop(5)
        held.append(propagator.bytes_held)
    assert propagator.object_ids == (1,)
    assert held[late] == held[early] > 0
    assert max(held) == held[early - 1]
    assert set(held[early:]) == {held[early]}


def tubes_of(engine: Engine, images: list[NDArray[np.uint8]], prompts: Any) -> Any:
    frames = frames_of(images)
    stream = follow(
        frames, engine.propagator, prompts, backwards=lambda high, low: reversed(frames[low : high + 1])
    )
    return collect(stream, VideoInfo("film", *SIZE), ("object",))


def test_objects_come_in_mid_video_and_corrections_change_their_own_frames(engine: Engine) -> None:
    images = film(8)
    before = {1: {2: PROMPTS[9]}, 2: {5: PROMPTS[3]}}
    after = {1: {2: before[1][2], 6: PROMPTS[5]}, 2: before[2]}
    result, anew = tubes_of(engine, images, before), tubes_of(engine, images, after)
    assert [tube.id for tube in result.tubes] == [1, 2]
    first, changed = result.tubes[0], anew.tubes[0]
    same = [
        row
        for row, index in enumerate(first.frames.tolist())
        if index <= 4 and np.array_equal(rle.decode(first.masks[row]), rle.decode(changed.masks[row]))
    ]
    assert len(same) == (first.frames <= 4).sum()
    frames = frames_of(images)

    def span(start: int, stop: int) -> Iterable[Frame]:
        step = 1 if stop >= start else -1
        return [frames[index] for index in range(start, stop + step, step)]

    again = follow_again(result, engine.propagator, before, after, span)
    assert again.tubes[1] is result.tubes[1]
    assert again.tubes[0].frames.tolist() == changed.frames.tolist()
    for ours, theirs in zip(again.tubes[0].masks, changed.masks, strict=True):
        np.testing.assert_array_equal(rle.decode(ours), rle.decode(theirs))


def test_a_mask_that_comes_with_clicks_gives_them_its_box(engine: Engine) -> None:
    image = film(1)[0]
    box = (20.0, 15.0, 70.0, 45.0)
    clicks: Any = {"points": ((30.0, 20.0),), "point_labels": (0,)}
    seen = [
        next(through(engine.propagator(), [image], {1: prompt}))[0].mask
        for prompt in (Prompt(mask=MASK, **clicks), Prompt(box=box, **clicks))
    ]
    np.testing.assert_array_equal(*seen)


def test_what_cannot_be_is_told(engine: Engine) -> None:
    image = film(1)[0]
    propagator = engine.propagator()
    features = propagator.embed(image)
    with pytest.raises(PromptError, match="object 1: its prompt gives an empty mask"):
        propagator.start(1, image, features, Prompt(mask=np.zeros(SIZE, np.bool_)))
    with pytest.raises(PromptError, match="the prompt is empty"):
        propagator.start(1, image, features, Prompt())
    small = image[:30]
    with pytest.raises(PromptError, match="all must have one size"):
        propagator.step(small, propagator.embed(small))
    with pytest.raises(UsageError, match="keyframe_interval 4: this engine looks at every frame"):
        list(follow(frames_of([image]), engine.propagator, {1: {0: PROMPTS[9]}}, keyframe_interval=4))
    with pytest.raises(UsageError, match="keyframe_interval 4: this engine looks at every frame"):
        list(follow_live(frames_of([image]), engine.propagator(), {1: PROMPTS[9]}, keyframe_interval=4))


def test_an_object_out_of_sight_is_lost(family: str, folder: Path) -> None:
    blind: Any = engines.create(family, model=str(folder), device="cpu")
    with torch.no_grad():
        blind._loaded.model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(-9)
    first, second = (row[0] for row in through(blind.propagator(), film(2), {9: PROMPTS[9]}))
    assert not first.lost
    assert second.lost
    assert second.score == 0
    assert second.box.tolist() == first.box.tolist() == [20, 15, 70, 45]
    assert not second.mask.any()


def test_dtype_is_respected(family: str, folder: Path) -> None:
    half = engines.create(family, model=str(folder), device="cpu", dtype="bfloat16")
    assert half.describe()["mode"] == "bfloat16"
    seen = list(through(half.propagator(), film(3), PROMPTS))
    assert all(one.logits.dtype == np.float32 for row in seen for one in row)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "film.mp4"
    with VideoWriter(path, SIZE, 10.0) as writer:
        for image in film(6):
            writer.write(image)
    return path


@pytest.mark.parametrize(("name", "live"), [*((name, False) for name in FAMILIES), ("sam2", True)])
def test_the_command_takes_an_engine(
    name: str, live: bool, clip: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, family = request.getfixturevalue(f"{name}_folder"), name
    words = [
        "follow",
        str(clip),
        "--engine",
        family,
        "--model",
        str(folder),
        "--device",
        "cpu",
        "--no-overlay",
    ]
    more = ["--live", "--json"] if live else ["--box", "5,5,60,50@4#7"]
    assert main([*words, "--box", "10,8,70,50", *more, "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["options"]["engine"] == family
    assert list(record["weights_sha256"]) == [f"small-{family}/model.safetensors"]
    assert tubes.read(tmp_path / "out" / "tubes.json").tubes


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--engine", "samm"], 2, "--engine 'samm' is unknown; choose one of own,"),
        (["--engine", "sam2", "--speed", "balanced", "--model", "FOLDER"], 2, "--speed full"),
        (["--engine", "sam2"], 4, "`hf download facebook/sam2.1-hiera-tiny`"),
        (["--engine", "edgetam"], 4, "`hf download yonigozlan/EdgeTAM-hf`"),
        (["--engine", "sam3"], 4, "`hf download facebook/sam3`"),
    ],
)
def test_what_the_command_cannot_do_is_told(
    words: list[str],
    code: int,
    message: str,
    clip: Path,
    sam2_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    words = [str(sam2_folder) if word == "FOLDER" else word for word in words]
    assert main(["follow", str(clip), "--point", "30,20", *words, "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err


def test_without_transformers_an_engine_says_what_to_install(
    folder: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from vis.errors import DependencyError

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match=r"run `pip install -U 'vis-tubes\[models\]'`"):
        engines.create(family, model=str(folder))


def test_the_models_of_engines_are_there() -> None:
    from vis.weights import HUB_MODELS, MODELS

    assert {engines.model_of(name) for name in engines.ENGINES} <= {*MODELS, *HUB_MODELS}
    assert engines.model_of("own", "some.pth") == "some.pth"
    assert torch.is_inference_mode_enabled() is False


def test_edits_follow_by_the_engine_that_they_name(sam2_folder: Path, clip: Path, tmp_path: Path) -> None:
    """In the file, in a replay, and as the engine by itself would."""
    images = film(6)
    base = tubes_of(
        engines.create("sam2", model=str(sam2_folder), device="cpu"), images[:1], {1: {0: PROMPTS[9]}}
    )
    base = replace(base, frames=np.arange(6), pts_seconds=np.arange(6) / 10)
    edit = edits.Follow(1, 0, 0, 5, engine="sam2")
    assert edits.describe(edit) == "follow 1 over frames 0 to 5 by sam2"
    edits.write(tmp_path / "edits.json", base, [edit, edits.Follow(1, 0, 0, 2)])
    file = edits.read(tmp_path / "edits.json")
    assert file.edits == (edit, edits.Follow(1, 0, 0, 2))
    assert (tmp_path / "edits.json").read_text().count("engine") == 1
    asked: list[str] = []

    def engine_of(name: str) -> Engine:
        asked.append(name)
        return engines.create(name, model=str(sam2_folder), device="cpu")

    predictor: Any = None  # the package's own engine is not asked
    decoder = edits.FrameDecoder(predictor, images.__getitem__, engine_of=engine_of)
    (followed,) = edits.replay(base, file.edits[:1], decode=decoder).tubes
    assert asked == ["sam2"]
    alone = through(engine_of("sam2").propagator(), images, {1: PROMPTS[9]})
    for row, (index, (seen,)) in enumerate(zip(range(6), alone, strict=True)):
        assert followed.frames[row] == index
        np.testing.assert_array_equal(rle.decode(followed.masks[row]), seen.mask)
