"""What a format cannot hold, in sentences: each writer returns them, none drops anything in silence.

Only what this very result loses is said: a result whose scores are all 1 loses nothing to a format
without scores. Knows no file.
"""

from __future__ import annotations

import numpy as np

from vis import masks
from vis.formats.builder import times_of
from vis.structures import Tube, VideoResult

__all__ = ["dropped_fields"]


def dropped_fields(
    result: VideoResult,
    *,
    classes: bool = False,
    tube_scores: bool = False,
    frame_scores: bool = False,
    boxes: bool = False,
    needs_masks: bool = True,
    empty_masks: bool = False,
    covered: bool = False,
    times: bool = False,
    rate: bool = False,
    made_with: bool = False,
    file_names: bool = False,
    unseen: bool = False,
) -> list[str]:
    """Sentences on what is lost by a format; each keyword says what the format holds.

    ``covered``: which frames were processed, when they are not all from 0 to the last one.
    ``needs_masks``: tubes of boxes only cannot be written at all. ``unseen``: tubes that are on no frame.
    """
    tubes = result.tubes
    with_masks = [tube for tube in tubes if tube.masks is not None]
    said: list[str] = []
    if needs_masks and len(with_masks) < len(tubes):
        said.append(
            f"{len(tubes) - len(with_masks)} tubes of boxes only are left out: the format holds masks"
        )
    if not empty_masks:
        said += _of_empty_masks(with_masks, unseen=unseen)
    checks = (
        (classes or len(result.class_names) <= 1, "class names are lost"),
        (tube_scores or all(tube.score == 1 for tube in tubes), "scores of tubes are lost"),
        (
            frame_scores or all((tube.scores == np.float32(tube.score)).all() for tube in tubes),
            "scores per frame are lost",
        ),
        (boxes or _boxes_are_of_masks(with_masks), "boxes are lost: readers take those of the masks"),
        (
            covered or np.array_equal(result.frames, np.arange(len(result.frames))),
            "which frames were processed is lost: readers take all from 0 to the last one",
        ),
        (
            times or np.array_equal(result.pts_seconds, times_of(result.frames, result.video.fps)),
            "presentation times are lost",
        ),
        (rate or result.video.fps is None, "the frame rate is lost"),
        (file_names or not result.video.file_names, "file names of the images are lost"),
        (made_with or not result.made_with, "how the result was made is lost"),
    )
    return said + [sentence for kept, sentence in checks if not kept]


def _of_empty_masks(tubes: list[Tube], *, unseen: bool) -> list[str]:
    seen = [[masks.bounding_box(mask).any() for mask in tube.masks or ()] for tube in tubes]
    said: list[str] = []
    if blank := sum(not one for each in seen for one in each):
        said.append(f"{blank} empty masks become absences")
    nowhere = sum(not any(each) for each in seen)
    if nowhere and not unseen:
        said.append(f"{nowhere} tubes whose masks are all empty are lost")
    return said


def _boxes_are_of_masks(tubes: list[Tube]) -> bool:
    return all(
        np.array_equal(box, masks.bounding_box(mask))
        for tube in tubes
        for box, mask in zip(tube.boxes, tube.masks or (), strict=True)
    )
