"""Training samples from features cached on disk: what makes training on a CPU practical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vis.errors import InputError
from vis.training.cache import load_view
from vis.training.samples import HeadSample, random_window, sam_iou, stack

__all__ = ["CachedSource"]


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

    def samples(self, indices: Sequence[int]) -> HeadSample:
        """The samples of these numbers, stacked."""
        return stack([self.sample(index) for index in indices])

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
