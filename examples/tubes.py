"""The whole road in Python: a video in, tubes out, masks refined.

python examples/tubes.py clip.mp4
"""

import sys

import detectors
import trackers
import vis
from vis.masks import decode

source, detector = vis.open_video(sys.argv[1]), detectors.create("salient")
tracked = vis.track(source, detector, trackers.create("iou"))
refined = vis.refine(tracked, vis.load_refiner("hq-tiny"))
result = vis.collect(refined, source.info, detector.class_names)
vis.write_results(result, "tubes.json")

for tube in result.tubes:
    middle = len(tube) // 2
    mask = decode(tube.masks[middle])  # bool (H, W)
    print(f"object {tube.id}: {len(tube)} frames, {mask.sum()} pixels on frame {tube.frames[middle]}")
