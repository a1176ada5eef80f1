"""Where samples come from: features cached on disk, or images seen by the frozen network on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from vis.errors import InputError
from vis.training.cache import load_view, sample_of_view
from vis.training.datasets import MaskedImage
from vis.training.frozen import FrozenSam
from vis.training.samples import HeadSample, random_window
from vis.training.views import random_view

__all__ = ["CachedSource", "LiveSource"]


class CachedSource:
    """Random objects of cached views; every window of one is drawn anew."""

    def __init__(self, folders: Mapping[Path, float], *, seed: int = 0, window: int = 96) -> None:
        """``folders``: cache folder -> its share of the samples. ``window``: largest side in mask cells."""
        self._files: list[list[Path]] = []
        shares = []
        for folder, share in folders.items():
            files = sorted(Path(folder).glob("*.pt"))
            if not files:
                raise InputError(f"{folder}: holds no cached views (*.pt); make some with `train prepare`")
            self._files.append(files)
            shares.append(share)
        self._shares = np.array(shares) / sum(shares)
        self._seed = seed
        self._window = window

    def sample(self, index: int) -> HeadSample:
        """Sample ``index``."""
        rng = np.random.default_rng((self._seed, index))
        files = self._files[int(rng.choice(len(self._files), p=self._shares))]
        objects = load_view(files[int(rng.integers(len(files)))])
        return random_window(objects[int(rng.integers(len(objects)))], rng, self._window)


class LiveSource:
    """Random views of images, through the frozen network each time: for a GPU."""

    def __init__(
        self,
        images: Sequence[MaskedImage],
        frozen: FrozenSam,
        *,
        seed: int = 0,
        window: int | None = None,
        train_token: bool = False,
        mix: Mapping[str, float] | None = None,
    ) -> None:
        """``train_token`` keeps the decoder's gradients; ``mix``: chances of prompt kinds."""
        if not images:
            raise InputError("there is no image to train on; check the data folder's layout")
        self._images = images
        self._frozen = frozen
        self._seed = seed
        self._window = window
        self._train_token = train_token
        self._mix = mix

    def sample(self, index: int) -> HeadSample:
        """Sample ``index``."""
        rng = np.random.default_rng((self._seed, index))
        while True:
            item = self._images[int(rng.integers(len(self._images)))]
            targets = item.targets()
            if not targets:
                continue
            view = random_view(item.image(), targets, rng, whole=rng.random() < 0.3, max_objects=1)
            if view.targets:
                break
        with torch.set_grad_enabled(self._train_token):
            sample = sample_of_view(self._frozen, view, rng, mix=self._mix)
        return sample if self._window is None else random_window(sample, rng, self._window)
