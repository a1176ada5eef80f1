"""The whole road in Python: a video in, tubes out, masks refined.

python examples/tubes.py clip.mp4
"""

import sys

import detectors
import trackers
from vis.hqsam import Predictor, load_model
from vis.masks import decode
from vis.pipeline import collect, refine, track
from vis.prompt_policies import HQSamRefiner
from vis.video import open_source

source = open_source(sys.argv[1])
detector = detectors.create("salient")
tracked = track(source, detector, trackers.create("iou"))
refined = refine(tracked, HQSamRefiner(Predictor(load_model("hq-tiny"))))
result = collect(refined, source.info, detector.class_names)

for tube in result.tubes:
    middle = len(tube) // 2
    mask = decode(tube.masks[middle])  # bool (H, W)
    print(f"object {tube.id}: {len(tube)} frames, {mask.sum()} pixels on frame {tube.frames[middle]}")
