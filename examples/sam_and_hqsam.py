"""One frame of the sample clip through SAM and through HQ-SAM, by the same box: docs/images/sam-hqsam.jpg.

python examples/sam_and_hqsam.py [FRAME] [OUT.jpg]
"""

import sys

import numpy as np
from PIL import Image

import detectors
from vis import weights
from vis.hqsam import Predictor, load_model
from vis.video import open_source

WINDOW = 300  # pixels of the frame that are shown, around where the masks differ most

wanted, out = int((sys.argv[1:] or ["66"])[0]), (sys.argv[2:] or ["sam-hqsam.jpg"])[0]
frame = next(f for f in open_source(weights.path("sample")) if f.index == wanted)
found = detectors.create("salient").detect([frame.image])[0]
box = found.boxes[:1]

pictures, masks = [], []
for name in ("sam-tiny", "hq-tiny"):
    predictor = Predictor(load_model(name))
    masks.append(predictor.decode(predictor.embed(frame.image), boxes=box).masks[0])
apart = (masks[0] ^ masks[1]).astype(np.float32)
sums = np.pad(apart.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
inside = sums[WINDOW:, WINDOW:] - sums[:-WINDOW, WINDOW:] - sums[WINDOW:, :-WINDOW] + sums[:-WINDOW, :-WINDOW]
top, left = np.unravel_index(int(inside.argmax()), inside.shape)
for mask in masks:
    cut = np.where(mask[..., None], frame.image, 255 - (255 - frame.image) // 4)
    window = cut[top : top + WINDOW, left : left + WINDOW].astype(np.uint8)
    pictures.append(np.asarray(Image.fromarray(window).resize((600, 600), Image.Resampling.NEAREST)))
Image.fromarray(np.hstack(pictures)).save(out, quality=85)
overlap = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
print(f"{out}: frame {wanted}, SAM left, HQ-SAM right; IoU of the two {overlap:.4f}")
