"""Every error and warning that this project raises on purpose.

::

    VisError
    ├── UsageError           an option or argument that cannot be meant so
    ├── InputError           what was given cannot be read or is invalid
    │   ├── VideoError         no video stream, broken container, over a limit, size change
    │   ├── AnnotationError    JSON, run lengths, polygons: names file, video and annotation
    │   ├── PromptError        boxes, points or masks that cannot prompt a mask
    │   └── CheckpointError    weights of another model, truncated, or not a checkpoint
    ├── WeightsError         a weight file is missing or does not match its checksum
    ├── DependencyError      an optional package is not installed, or an added one is broken
    ├── OutputError          a result could not be written whole (disk full, folder exists)
    └── CancelledError       the user stopped the work; finished frames are kept

    VisWarning (UserWarning)
    ├── TruncatedVideoWarning  fewer frames decode than the container promises
    ├── HdrVideoWarning        high dynamic range was tone-mapped to a standard screen's
    ├── InterlacedVideoWarning lines of two moments were made into whole pictures
    ├── ValueRangeWarning      images of more than 8 bits became 8-bit by a range that a sample suggests
    ├── FallbackWarning        a slower or plainer way was taken than the one asked for
    ├── AnnotationWarning      what a file of annotations holds was left out, or is kept in another way
    └── EvaluationWarning      the official protocol does something worth knowing here

A message says what was given, what was expected, and what to do next.
"""

from __future__ import annotations

__all__ = [
    "AnnotationError",
    "AnnotationWarning",
    "CancelledError",
    "CheckpointError",
    "DependencyError",
    "EvaluationWarning",
    "FallbackWarning",
    "HdrVideoWarning",
    "InputError",
    "InterlacedVideoWarning",
    "OutputError",
    "PromptError",
    "TruncatedVideoWarning",
    "UsageError",
    "ValueRangeWarning",
    "VideoError",
    "VisError",
    "VisWarning",
    "WeightsError",
]


class VisError(Exception):
    """Root of all errors raised on purpose."""


class UsageError(VisError):
    """An option or argument that cannot be meant so."""


class InputError(VisError):
    """What was given cannot be read or is invalid."""


class VideoError(InputError):
    """A video that cannot be opened, decoded, or accepted under the limits."""


class AnnotationError(InputError):
    """Annotations or results that break their format; names file, video and annotation."""


class PromptError(InputError):
    """Boxes, points or masks that cannot prompt a mask."""


class CheckpointError(InputError):
    """A weight file of another model, truncated, or no checkpoint at all."""


class WeightsError(VisError):
    """A weight file is missing, or its bytes do not match its checksum."""


class DependencyError(VisError):
    """An optional package is missing, or one that adds a detector or tracker is broken; the message says what to do."""


class OutputError(VisError):
    """A result could not be written whole; nothing half-written is left behind."""


class CancelledError(VisError):
    """The user stopped the work; frames finished before are kept."""


class VisWarning(UserWarning):
    """Root of all warnings issued on purpose."""


class TruncatedVideoWarning(VisWarning):
    """Fewer frames decode than the container promises."""


class HdrVideoWarning(VisWarning):
    """High dynamic range was tone-mapped to what a standard screen shows."""


class InterlacedVideoWarning(VisWarning):
    """The lines of two moments were made into whole pictures, or could not be."""


class ValueRangeWarning(VisWarning):
    """Images of more than 8 bits became 8-bit by a range that a sample of them suggests."""


class FallbackWarning(VisWarning):
    """A slower or plainer way was taken than the one asked for."""


class AnnotationWarning(VisWarning):
    """Something that a file of annotations holds was left out, or is kept in another way."""


class EvaluationWarning(VisWarning):
    """The official protocol does something here that is worth knowing."""
