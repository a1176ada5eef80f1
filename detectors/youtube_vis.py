"""The 40 class names of YouTube-VIS, which differ between the years."""

from __future__ import annotations

__all__ = ["YOUTUBE_VIS_2019", "YOUTUBE_VIS_2021"]

YOUTUBE_VIS_2019: tuple[str, ...] = (
    "person", "giant_panda", "lizard", "parrot", "skateboard", "sedan", "ape", "dog", "snake", "monkey",
    "hand", "rabbit", "duck", "cat", "cow", "fish", "train", "horse", "turtle", "bear",
    "motorbike", "giraffe", "leopard", "fox", "deer", "owl", "surfboard", "airplane", "truck", "zebra",
    "tiger", "elephant", "snowboard", "boat", "shark", "mouse", "frog", "eagle", "earless_seal",
    "tennis_racket",
)  # fmt: skip

YOUTUBE_VIS_2021: tuple[str, ...] = (
    "airplane", "bear", "bird", "boat", "car", "cat", "cow", "deer", "dog", "duck",
    "earless_seal", "elephant", "fish", "flying_disc", "fox", "frog", "giant_panda", "giraffe", "horse",
    "leopard", "lizard", "monkey", "motorbike", "mouse", "parrot", "person", "rabbit", "shark",
    "skateboard", "snake", "snowboard", "squirrel", "surfboard", "tennis_racket", "tiger", "train", "truck",
    "turtle", "whale", "zebra",
)  # fmt: skip
