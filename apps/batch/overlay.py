"""The pictures of a batch's run folder, drawn piece by piece, so that a killed drawing goes on in the middle.

A piece is as many frames as a chunk: an encoded video of its own, and the small pictures that its frames give
to the contact sheet. The video gets its place last and whole, so its presence means that the piece is done. In the
end the pieces are joined without encoding anything again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from apps.rendering import replayed
from apps.run_folder import added_files
from vis.files import whole_file
from vis.interfaces import FrameSource
from vis.render import ContactSheet, OverlayWriter, Renderer, small_picture, write_contact_sheet
from vis.structures import Frame, TrackedFrame, VideoResult
from vis.video.concat import concat_parts, encoder_name, is_part

__all__ = ["draw"]

FALLBACK_FPS = 10.0
"""Of folders of images without a rate."""

ReportProgress = Callable[[int], None]
"""Called with the number of frames drawn."""


def draw(
    source: FrameSource,
    result: VideoResult,
    folder: Path,
    *,
    pieces: Path,
    length: int,
    overlay: bool,
    audio_from: Path | None,
    report_progress: ReportProgress,
) -> dict[str, Exception]:
    """contact_sheet.png and, if wanted, overlay.mp4 in ``folder``; ``length`` frames a piece under ``pieces``.

    Pieces that are there already are kept. The files' bytes do not depend on where a drawing was stopped.
    Returns file name -> error of those that could not be drawn.
    """
    missing: dict[str, Exception] = {}
    if not len(result.frames):
        return missing
    renderer = Renderer(result.class_names)
    places = ContactSheet.places(len(result.frames))
    # Pieces of one encoder only: another version's need not fit.
    drawing = _Drawing(result, renderer, pieces / encoder_name(), length=length, on_sheet=frozenset(places))
    if overlay:
        try:
            drawing.finish(source, report_progress)
            drawing.join(folder / "overlay.mp4", audio_from)
        except Exception as error:
            missing["overlay.mp4"] = error
    try:
        if overlay and not missing:
            pictures = [drawing.read_small(place) for place in places]
        else:
            frames = [result.frames[place] for place in places]
            pictures = [small_picture(tracked, renderer) for tracked in replayed(source, result, frames)]
        write_contact_sheet(folder / "contact_sheet.png", pictures)
    except Exception as error:
        missing["contact_sheet.png"] = error
    return missing


class _Drawing:
    """One video's pieces; number ``start`` holds the processed frames from place ``start`` on."""

    def __init__(
        self,
        result: VideoResult,
        renderer: Renderer,
        folder: Path,
        *,
        length: int,
        on_sheet: frozenset[int],
    ) -> None:
        self.result, self.renderer, self.folder, self.length = result, renderer, folder, length
        self.rate, self.on_sheet = result.video.fps or FALLBACK_FPS, on_sheet
        self.starts = range(0, len(result.frames), length)

    def piece(self, start: int) -> Path:
        return self.folder / f"{start:09d}.mp4"

    def finish(self, source: FrameSource, report_progress: ReportProgress) -> None:
        """Draw the pieces that are missing, in order."""
        missing = (
            start for start in self.starts if not is_part(self.piece(start), self.rate, self._size(start))
        )
        first = next(missing, None)
        if first is None:
            return
        stream = replayed(source, self.result, self.result.frames[first:])
        for start in range(first, len(self.result.frames), self.length):
            name = self.piece(start).name
            with (
                added_files(self.folder, last=name) as added,
                OverlayWriter(
                    added / name,
                    self.result.video,
                    self.renderer,
                    expected_frames=self._size(start),
                    fallback_fps=FALLBACK_FPS,
                ) as writer,
            ):
                for place, tracked in enumerate(islice(stream, self._size(start)), start):
                    if place in self.on_sheet:
                        self._save_small(added, place, tracked)
                    writer.write(tracked)
                    report_progress(place + 1)

    def join(self, path: Path, audio_from: Path | None) -> None:
        """All pieces as one video, with sound."""
        timed = self.result.video.fps is not None
        concat_parts(
            [self.piece(start) for start in self.starts],
            path,
            self.rate,
            starts=[float(self.result.pts_seconds[start]) for start in self.starts] if timed else None,
            audio_from=audio_from,
        )

    def read_small(self, place: int) -> Frame:
        """A picture for the sheet."""
        from PIL import Image

        with Image.open(self._small(place)) as picture:
            image = np.asarray(picture.convert("RGB"))
        return Frame(int(self.result.frames[place]), float(self.result.pts_seconds[place]), image)

    def _save_small(self, folder: Path, place: int, tracked: TrackedFrame) -> None:
        from PIL import Image

        picture = small_picture(tracked, self.renderer)
        with whole_file(folder / self._small(place).name) as part:
            Image.fromarray(picture.image).save(part, format="PNG")

    def _small(self, place: int) -> Path:
        return self.folder / f"{place:09d}.png"

    def _size(self, start: int) -> int:
        return min(self.length, len(self.result.frames) - start)
