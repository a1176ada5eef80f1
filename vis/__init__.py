"""Video in, object tubes out: the names that most programs need, each imported when it is first used.

::

    source = vis.open_video("clip.mp4")
    tracked = vis.track(source, detectors.create("salient"), trackers.create("iou"))
    result = vis.collect(vis.refine(tracked, vis.load_refiner("hq-tiny")), source.info, ("object",))

``import vis`` loads neither numpy nor torch. Everything else is in the modules, which never ask this one for a name;
they know no detector, no tracker and no page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vis.evaluation.video_results import evaluate_results as evaluate
    from vis.formats.results import read_results, write_results
    from vis.pipeline import collect, refine, replay, track
    from vis.refiners import load_refiner
    from vis.structures import Detections, Tube, VideoResult
    from vis.video.source import open_source as open_video

__version__ = "0.2.0"

__all__ = [
    "Detections",
    "Tube",
    "VideoResult",
    "__version__",
    "collect",
    "evaluate",
    "load_refiner",
    "open_video",
    "read_results",
    "refine",
    "replay",
    "track",
    "write_results",
]

_PLACES = {
    "Detections": "vis.structures:Detections",
    "Tube": "vis.structures:Tube",
    "VideoResult": "vis.structures:VideoResult",
    "collect": "vis.pipeline:collect",
    "evaluate": "vis.evaluation.video_results:evaluate_results",
    "load_refiner": "vis.refiners:load_refiner",
    "open_video": "vis.video.source:open_source",
    "read_results": "vis.formats.results:read_results",
    "refine": "vis.pipeline:refine",
    "replay": "vis.pipeline:replay",
    "track": "vis.pipeline:track",
    "write_results": "vis.formats.results:write_results",
}
"""Name -> "module:name"; type checkers read the imports above instead."""

if not TYPE_CHECKING:  # to a type checker it would make every misspelled name right

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module, _, attribute = _PLACES[name].partition(":")
        globals()[name] = value = getattr(import_module(module), attribute)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PLACES})
