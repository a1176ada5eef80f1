"""SAM 3 by words: masks, scores, ids and labels are those of the library's own streaming session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import detectors
from apps.cli import main
from apps.presets import PRESETS
from vis.errors import DependencyError, FallbackWarning, UsageError
from vis.formats import tubes
from vis.interfaces import Detector, Resettable, WeightsRecord
from vis.video import VideoWriter

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore:without the package kernels")
# A random model is never sure, so thresholds are low; and few of its objects are new.
SETTINGS: Any = {"score": 0.02, "new_score": 0.03, "max_objects": 3}


def make(folder: Path, text: str = "Person . red car", **settings: Any) -> Any:
    return detectors.create("sam3", text=text, weights=folder, device="cpu", **{**SETTINGS, **settings})


def tensors(value: Any) -> dict[int, int]:
    """Bytes of every tensor in nested values, by where it lies."""
    if isinstance(value, torch.Tensor):
        return {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()}
    if isinstance(value, dict):
        value = list(value.values())
    found: dict[int, int] = {}
    for one in value if isinstance(value, (list, tuple)) else ():
        found |= tensors(one)
    return found


def test_objects_are_those_of_the_librarys_streaming_session(sam3_folder: Path, film: Any) -> None:
    images = film(18, size=(60, 100))
    detector = make(sam3_folder)
    assert isinstance(detector, Detector)
    assert isinstance(detector, Resettable)
    assert isinstance(detector, WeightsRecord)
    assert detector.class_names == ("person", "red car")
    ours = [*detector.detect(images[:5]), *detector.detect(images[5:])]

    processor = transformers.Sam3VideoProcessor(
        transformers.Sam3ImageProcessor.from_pretrained(sam3_folder),
        transformers.Sam2VideoVideoProcessor(),
        transformers.AutoTokenizer.from_pretrained(sam3_folder),
    )
    model = transformers.Sam3VideoModel.from_pretrained(sam3_folder).eval()
    model.score_threshold_detection, model.new_det_thresh, model.max_num_objects = 0.02, 0.03, 3
    session = processor.init_video_session()
    processor.add_text_prompt(session, ["person", "red car"])
    for found, image in zip(ours, images, strict=True):
        inputs = processor(images=image, return_tensors="pt")
        out = model(session, frame=inputs["pixel_values"])
        theirs = processor.postprocess_outputs(session, out, original_sizes=inputs["original_sizes"])
        masks = theirs["masks"].numpy()
        seen = masks.any(axis=(1, 2))
        np.testing.assert_array_equal(found.track_ids, theirs["object_ids"].numpy()[seen] + 1)
        np.testing.assert_array_equal(found.masks, masks[seen])
        np.testing.assert_allclose(found.scores, theirs["scores"].numpy()[seen], atol=1e-6)
        by_words = theirs["prompt_to_obj_ids"]
        assert [one - 1 for one, label in zip(found.track_ids, found.labels, strict=True) if label == 0] == [
            one for one in by_words.get("person", []) if one + 1 in found.track_ids
        ]
    assert max(map(len, ours)) >= 2
    labels = {label for found in ours for label in found.labels.tolist()}
    assert labels == {0, 1}


def test_what_is_held_does_not_grow_and_reset_begins_anew(sam3_folder: Path, film: Any) -> None:
    detector = make(sam3_folder, "dog", max_objects=2)
    detector._model.recondition_every_nth_frame = 0  # each would leave a pointer for good
    images = film(6, size=(60, 100))
    first = detector.detect(images)
    held = {}
    for index in range(6, 26):
        detector.detect([images[index % 6]])
        held[index] = sum(tensors(vars(detector._session)).values())
    assert len(detector._session.obj_ids) == 2
    assert held[25] == held[15] > 0
    detector.reset()
    for one, other in zip(first, detector.detect(images), strict=True):
        np.testing.assert_array_equal(one.track_ids, other.track_ids)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_what_cannot_be_asked_is_told(sam3_folder: Path) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        make(sam3_folder, " . ")
    with pytest.raises(UsageError, match=r"has \d+ tokens, the model reads 32"):
        make(sam3_folder, "dog " * 40)
    with pytest.raises(UsageError, match=r"score 2"):
        make(sam3_folder, score=2)
    with pytest.raises(UsageError, match="needs text"):
        detectors.create("sam3", weights=sam3_folder)
    with pytest.warns(FallbackWarning, match="`pip install kernels`"):
        make(sam3_folder)


def test_without_transformers_it_says_what_to_install(sam3_folder: Path, monkeypatch: Any) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match=r"run `pip install -U 'vis-tubes\[models\]'`"):
        make(sam3_folder)


def test_the_preset_gives_tubes_of_words(sam3_folder: Path, film: Any, tmp_path: Path, capsys: Any) -> None:
    with VideoWriter(tmp_path / "film.mp4", (60, 100), 10.0) as writer:
        for image in film(6, size=(60, 100)):
            writer.write(image)
    words = ["run", str(tmp_path / "film.mp4"), "--preset", "concept", "--text", "person . red car"]
    words += ["--weights", str(sam3_folder), "--model", "none", "--device", "cpu", "--no-overlay"]
    assert main([*words, "--score", "0.02", "--min-frames", "1", "--out", str(tmp_path / "out")]) == 0
    result = tubes.read(tmp_path / "out" / "tubes.json")
    assert result.class_names == ("person", "red car")
    made = json.loads((tmp_path / "out" / "run.json").read_text())
    assert list(made["weights_sha256"]) == ["small-sam3/model.safetensors"]
    assert PRESETS["concept"].tracker == "native"
