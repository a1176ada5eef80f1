"""``vistubes fill``: gaps of a saved result's tubes followed through, from both sides."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.job import check_same_size, made_from
from apps.option_types import number, unit
from apps.options import add_network, add_output, add_saved_video, output_of, selection_of
from apps.plan import Selection, source_path
from apps.progress import Stopwatch, progress
from apps.run_folder import tubes_of

if TYPE_CHECKING:
    from vis.interfaces import FrameSource
    from vis.structures import Frame, VideoResult

__all__ = ["FillJob", "Filling", "configure", "run"]

EPILOG = """\
A gap is where a tube is absent between two of its frames: the detector missed the object, or was run on some
frames only. The object is followed into the gap from both sides; on frames where it cannot be found the tube
stays absent. Where the two sides turn out to be different objects, the tube is cut in two.

examples:
  vistubes fill runs/clip clip.mp4 --out runs/filled
  vistubes run clip.mp4 --detector yolox --stride 10 --out runs/sparse    # detect on every tenth frame ...
  vistubes fill runs/sparse clip.mp4 --out runs/whole                     # ... and follow in between
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fill``."""
    parser.epilog = EPILOG
    add_saved_video(parser)
    parser.add_argument(
        "--max-gap", type=number(0, 1e9), metavar="S", help="longest gap to fill, seconds (default: any)"
    )
    parser.add_argument(
        "--cut-below",
        type=unit,
        default=0.05,
        metavar="IOU",
        help="cut a tube whose two sides overlap less than this where they meet (0.05); 0 never cuts",
    )
    add_network(parser)
    add_output(parser, default="runs/NAME")


def run(args: argparse.Namespace) -> int:
    """Read, fill, write; errors leave as exceptions of vis.errors."""
    from apps.verbs.run import run_job
    from vis.formats import tubes

    saved = tubes.read(tubes_of(args.result))
    path, selection = source_path(args.source), selection_of(args)
    filling = Filling(args.model, args.precision, args.max_gap, args.cut_below)
    return run_job(
        lambda: FillJob(saved, filling, path, selection, device=args.device),
        path,
        selection,
        output_of(args),
    )


@dataclass(frozen=True, slots=True)
class Filling:
    """How gaps are filled."""

    model: str
    """Name in vis.weights.MODELS, or a checkpoint."""
    precision: str = "fast"
    max_gap: float | None = None
    """Longest gap that is filled, seconds; None: any."""
    cut_below: float = 0.05
    """A tube whose two sides overlap less than this IoU where they meet is cut."""


class FillJob:
    """A saved result whose gaps are filled; no detector, no tracker."""

    def __init__(
        self, saved: VideoResult, filling: Filling, path: Path, selection: Selection, *, device: str = "auto"
    ) -> None:
        """``path``: the video of ``saved``, which is read as ``selection`` says."""
        from vis import refiners

        self.saved = saved
        self.watch = Stopwatch()
        self.refiner = None
        self._filling = filling
        with self.watch("load"):
            self._predictor = refiners.create(filling.model, device=device, mode=filling.precision)
            self._pictures = selection.pictures(path)

    def describe(self) -> str:
        """One line that says what will run."""
        return f"{len(self._gaps())} gaps of {len(self.saved.tubes)} tubes -> follow -> {self._filling.model}"

    def made_with(self) -> dict[str, Any]:
        """This step's part, and under ``association`` how the saved result was made."""
        return made_from(self.saved, asdict(self._filling), self._filling.model)

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The saved tubes, their gaps filled.

        Raises :class:`InputError` when the video is not the one that the result was made from, as far
        as size and frame numbers tell.
        """
        from vis.follow import Follower, fill_gaps

        saved = self.saved
        check_same_size(source, saved)

        def backwards(high: int, low: int) -> Iterator[Frame]:
            frames = (self._pictures[index] for index in range(high, low - 1, -1))
            return progress(frames, what="backwards", total=high - low + 1, quiet=quiet)

        total = None if not len(saved.frames) else int(saved.frames[-1]) + 1
        with self.watch("follow"):
            filled = fill_gaps(
                saved,
                progress(iter(source), what="fill", total=total, quiet=quiet),
                lambda: Follower(self._predictor),
                backwards=backwards,
                longest=self._longest(),
                cut_below=self._filling.cut_below,
            )
        return replace(filled, made_with=self.made_with())

    def _gaps(self) -> tuple[Any, ...]:
        from vis.follow import find_gaps

        return find_gaps(self.saved, longest=self._longest())

    def _longest(self) -> float:
        """``--max-gap`` in frames."""
        seconds = self._filling.max_gap
        if seconds is None:
            return float("inf")
        frames, times = self.saved.frames, self.saved.pts_seconds
        if len(frames) < 2 or times[-1] <= times[0]:
            return 0.0
        return float(seconds * (frames[-1] - frames[0]) / (times[-1] - times[0]))
