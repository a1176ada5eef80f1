"""What a format cannot hold, in sentences: each writer returns them, none drops anything in silence.

Only what this very result loses is said: a result whose scores are all 1 loses nothing to a format
without scores. Knows no file.
"""

from __future__ import annotations

import numpy as np

from vis import masks
from vis.formats.gather import times_of
from vis.structures import VideoResult

__all__ = ["not_held"]


def not_held(
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
    said: list[str] = []
    tubes = result.tubes
    with_masks = [tube for tube in tubes if tube.masks is not None]
    if needs_masks and len(with_masks) < len(tubes):
        said.append(
            f"{len(tubes) - len(with_masks)} tubes of boxes only are left out: the format holds masks"
        )
    if not empty_masks:
        seen = [[masks.bounding_box(mask).any() for mask in tube.masks or ()] for tube in with_masks]
        if blank := sum(not one for each in seen for one in each):
            said.append(f"{blank} empty masks become absences")
        nowhere = sum(not any(each) for each in seen)
        if nowhere and not unseen:
            said.append(f"{nowhere} tubes whose masks are all empty are lost")
    if not classes and len(result.class_names) > 1:
        said.append("class names are lost")
    if not tube_scores and any(tube.score != 1 for tube in tubes):
        said.append("scores of tubes are lost")
    if not frame_scores and any((tube.scores != np.float32(tube.score)).any() for tube in tubes):
        said.append("scores per frame are lost")
    if not boxes and any(
        not np.array_equal(box, masks.bounding_box(mask))
        for tube in with_masks
        for box, mask in zip(tube.boxes, tube.masks or (), strict=True)
    ):
        said.append("boxes are lost: readers take those of the masks")
    if not covered and not np.array_equal(result.frames, np.arange(len(result.frames))):
        said.append("which frames were processed is lost: readers take all from 0 to the last one")
    if not times and not np.array_equal(result.pts_seconds, times_of(result.frames, result.video.fps)):
        said.append("presentation times are lost")
    if not rate and result.video.fps is not None:
        said.append("the frame rate is lost")
    if not file_names and result.video.file_names:
        said.append("file names of the images are lost")
    if not made_with and result.made_with:
        said.append("how the result was made is lost")
    return said
