"""SAM 2.1 (Ravi et al. 2024), EdgeTAM (Zhou et al. 2025) and SAM 3's tracker (2025), through transformers.

The three share one form: an image encoder, SAM's prompt encoder and decoder, and for video a memory of the frames
before. ``predictor`` takes one image and prompts, ``video`` carries objects from frame to frame, ``layout`` lays
their stretched squares out as :class:`vis.interfaces.MaskPredictor` has them, ``loading`` gets the weights.
Knows no tracker, no detector and no file but the weights.
"""

from __future__ import annotations

from functools import partial

from vis.sam2.loading import EDGETAM, SAM2, SAM3, load_predictor
from vis.sam2.predictor import StretchedPredictor

__all__ = ["StretchedPredictor", "load_edgetam", "load_sam2", "load_sam3"]

load_sam2 = partial(load_predictor, SAM2)
load_edgetam = partial(load_predictor, EDGETAM)
load_sam3 = partial(load_predictor, SAM3)
