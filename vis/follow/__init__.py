"""Objects followed through time from one prompt: a click, a box or a mask on any frame.

::

    predictor = refiners.create("hq-tiny")
    prompts = {1: {0: Prompt(points=((310, 96),), point_labels=(1,))}}
    result = collect(follow(source, lambda: Follower(predictor), prompts), source.info, ("object",))

``prompts`` says what points at an object, ``motion`` how the picture moved, ``memory`` what earlier pictures
looked like, ``decoding`` what masks there are to choose from, ``interpolation`` carries objects to pictures
that the network does not see, ``follower`` takes objects from picture to picture, ``stream`` through a whole
video both ways, ``live`` takes pictures as they come, ``again`` follows anew what other prompts change, ``gaps``
bridges what a detector missed. ``engine`` says what another model must offer to take the follower's place
(:mod:`vis.engines` has them by name). Knows no page, no file and no detector.
"""

from __future__ import annotations

from vis.follow.again import changed_segments, follow_again
from vis.follow.engine import Engine, Interpolator, OwnEngine, Propagator
from vis.follow.follower import Follower, ObjectState
from vis.follow.gaps import Gap, fill_gaps, find_gaps
from vis.follow.prompts import FirstMask, Prompt, first_mask
from vis.follow.stream import SPEEDS, Prompts, Segment, follow, segments
from vis.renamed import renamed_names

__all__ = [
    "SPEEDS",
    "Engine",
    "FirstMask",
    "Follower",
    "Gap",
    "Interpolator",
    "ObjectState",
    "OwnEngine",
    "Prompt",
    "Prompts",
    "Propagator",
    "Segment",
    "changed_segments",
    "fill_gaps",
    "find_gaps",
    "first_mask",
    "follow",
    "follow_again",
    "segments",
]

__getattr__ = renamed_names(
    __name__, Followed="ObjectState", Leg="Segment", changed_legs="changed_segments", legs="segments"
)
