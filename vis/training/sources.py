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
from vis.training.samples import HeadSample, random_window, sam_iou
from vis.training.views import View, random_view

__all__ = ["CachedSource", "LiveSource"]


_TRIES = 200


class CachedSource:
    """Random objects of cached views; every window of one is drawn anew."""

    def __init__(
        self, folders: Mapping[Path, float], *, seed: int = 0, window: int = 32, least_iou: float = 0.5
    ) -> None:
        """Read the folders' names of views; views made later are not seen.

        Args:
            folders: cache folder -> its share of the samples.
            seed: of everything drawn.
            window: side of a sample in mask cells, a multiple of 4.
            least_iou: objects whose SAM mask has a lower IoU with the truth are left out: their prompt
                was ambiguous, or their mask is wrong.
        """
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
        self._least_iou = least_iou
        self._known: dict[Path, list[HeadSample]] = {}

    def sample(self, index: int) -> HeadSample:
        """Sample ``index``."""
        rng = np.random.default_rng((self._seed, index))
        for _ in range(_TRIES):
            files = self._files[int(rng.choice(len(self._files), p=self._shares))]
            objects = self._objects(files[int(rng.integers(len(files)))])
            sample = objects[int(rng.integers(len(objects)))] if objects else None
            if sample is not None:
                return random_window(sample, rng, self._window)
        raise InputError(f"{_TRIES} cached views in a row were no use for training; make the cache anew")

    def _objects(self, path: Path) -> list[HeadSample]:
        """The useful objects of a view. They stay mapped: the system's page cache is the memory."""
        if path not in self._known:
            self._known[path] = [
                sample
                for sample in load_view(path)
                if min(sample.sam_logits.shape) >= self._window and sam_iou(sample) >= self._least_iou
            ]
        return self._known[path]


class LiveSource:
    """Random views of images, through the frozen network each time: for a GPU."""

    def __init__(
        self,
        images: Sequence[MaskedImage],
        frozen: FrozenSam,
        *,
        seed: int = 0,
        window: int = 64,
        train_token: bool = False,
        mix: Mapping[str, float] | None = None,
    ) -> None:
        """Keep the images' names; nothing is read yet.

        Args:
            images: with their masks.
            frozen: the network.
            seed: of everything drawn.
            window: side of a sample in mask cells, a multiple of 4.
            train_token: keep the decoder's gradients.
            mix: chances of prompt kinds.
        """
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
        for _ in range(_TRIES):
            item = self._images[int(rng.integers(len(self._images)))]
            targets = item.targets()
            if not targets:
                continue
            view = random_view(item.image(), targets, rng, whole=rng.random() < 0.3, max_objects=1)
            sample = self._decode(view, rng) if view.targets else None
            if sample is not None and min(sample.sam_logits.shape) >= self._window:
                return random_window(sample, rng, self._window)
        raise InputError(f"{_TRIES} images in a row had no object large enough; check the masks")

    def _decode(self, view: View, rng: np.random.Generator) -> HeadSample:
        with torch.set_grad_enabled(self._train_token):
            return sample_of_view(self._frozen, view, rng, mix=self._mix)
