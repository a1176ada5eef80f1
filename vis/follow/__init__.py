"""Objects followed through time from one prompt: a click, a box or a mask on any frame.

::

    predictor = refiners.create("hq-tiny")
    prompts = {1: {0: Prompt(points=((310, 96),), point_labels=(1,))}}
    result = collect(follow(source, lambda: Follower(predictor), prompts), source.info, ("object",))

``prompts`` says what points at an object, ``motion`` how the picture moved, ``memory`` what earlier pictures
looked like, ``decoding`` what masks there are to choose from, ``between`` carries objects to pictures that
the network does not see, ``follower`` takes objects from picture to picture, ``stream`` walks a whole video
both ways, ``live`` takes pictures as they come, ``again`` follows anew what other prompts change, ``gaps``
bridges what a detector missed. Knows no page, no file and no detector.
"""

from __future__ import annotations

from vis.follow.again import changed_legs, follow_again
from vis.follow.follower import Followed, Follower
from vis.follow.gaps import Gap, fill_gaps, find_gaps
from vis.follow.prompts import FirstMask, Prompt, first_mask
from vis.follow.stream import SPEEDS, Leg, Prompts, follow, legs

__all__ = [
    "SPEEDS",
    "FirstMask",
    "Followed",
    "Follower",
    "Gap",
    "Leg",
    "Prompt",
    "Prompts",
    "changed_legs",
    "fill_gaps",
    "find_gaps",
    "first_mask",
    "follow",
    "follow_again",
    "legs",
]
