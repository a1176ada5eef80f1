"""A detector of one's own, start to finish: detect, track, refine, masks as arrays, write, read, evaluate.

python examples/own_detector.py [clip.mp4]    # without a clip it makes one, whose truth is known

The same from the command line, in this folder: vistubes run clip.mp4 --detector own_detector:Bright
"""

import sys
from pathlib import Path

import numpy as np

import trackers
import vis
from vis import masks
from vis.structures import VideoInfo
from vis.video import VideoWriter


class Bright:
    """Finds one thing: the box around what is brighter than anything else. Anything with these two is a detector."""

    class_names = ("bright",)

    def detect(self, images):
        found = []
        for image in images:
            rows, columns = np.nonzero(image.min(axis=2) > 180)
            if not len(rows):
                found.append(vis.Detections([], [], []))
                continue
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            found.append(vis.Detections(boxes=[box], scores=[0.9], labels=[0]))
        return found


class FillBox:
    """A refiner of one's own: the box is the mask. ``vis.load_refiner("hq-tiny")`` gives HQ-SAM instead."""

    def reset(self):
        pass

    def refine(self, image, detections):
        drawn = np.zeros((len(detections), *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(drawn, detections.boxes.round().astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        return vis.Detections(
            detections.boxes, detections.scores, detections.labels, drawn, detections.track_ids
        )


def square(frame):
    """Where the square of the made clip is, bool (H, W)."""
    mask = np.zeros((96, 128), bool)
    mask[30:62, 10 + 4 * frame : 42 + 4 * frame] = True
    return mask


def make_clip(path, frames=8):
    """A bright square that walks over a dark ground; the truth, as a result."""
    with VideoWriter(path, (96, 128), 10.0) as writer:
        for frame in range(frames):
            writer.write(np.where(square(frame)[..., None], 240, 40).astype(np.uint8).repeat(3, axis=2))
    shapes = masks.encode_many(np.stack([square(frame) for frame in range(frames)]))
    boxes = np.stack([masks.bounding_box(shape) for shape in shapes])
    at, ones = np.arange(frames), np.ones(frames, np.float32)
    tube = vis.Tube(1, 0, 1.0, at, boxes, ones, tuple(shapes))
    return vis.VideoResult(VideoInfo("made", 96, 128, fps=10.0), ("bright",), (tube,), at, at / 10.0)


def main(clip=None, out="own"):
    truth = None
    if clip is None:
        clip = Path(out) / "made.mp4"
        truth = make_clip(clip)
    source, detector = vis.open_video(clip), Bright()
    tracked = vis.track(source, detector, trackers.create("iou"))
    result = vis.collect(vis.refine(tracked, FillBox()), source.info, detector.class_names)

    for tube in result.tubes:
        stack = np.stack([masks.decode(mask) for mask in tube.masks])  # bool (L, H, W)
        print(f"object {tube.id}: {len(tube)} frames, {stack.sum(axis=(1, 2)).mean():.0f} pixels on average")

    vis.write_results(result, Path(out) / "tubes.json")
    again = vis.read_results(Path(out) / "tubes.json")
    if truth is not None:
        scores = vis.evaluate(truth, again)
        print(
            f"tube mask AP {scores.mask.ap:.3f}, AP50 {scores.mask.ap50:.3f}; boundary AP {scores.boundary.ap:.3f}"
        )
    return again, truth


if __name__ == "__main__":
    main(*sys.argv[1:2])
