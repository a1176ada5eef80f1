"""What a truth file and a results file hold, after reading: videos, categories, tubes.

:mod:`vis.evaluation.loading` makes them and checks every value. Ids are whole numbers of at most 63 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vis.evaluation.tube_masks import TubeMasks

__all__ = ["Category", "ResultTube", "Truth", "TruthTube", "Video"]


@dataclass(frozen=True, slots=True)
class Video:
    """What the truth says about a video."""

    id: int
    """Unique among the videos."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    length: int
    """Annotated frames; -1 when the file does not say."""
    name: str
    """Folder of its frames, or the path of its image; its id as text where the file names none."""
    files: tuple[str, ...] = ()
    """Relative paths of its frames, empty when the file does not say."""
    absent: frozenset[int] | None = None
    """Categories known to be absent (LVIS' ``neg_category_ids``); None when the file does not say."""
    open: frozenset[int] | None = None
    """Categories of which not every object is annotated (LVIS' ``not_exhaustive_category_ids``); or None."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class of the truth."""

    id: int
    """Unique among the categories."""
    name: str
    """As in the file."""
    frequency: str = ""
    """LVIS: r, c or f for rare, common, frequent; empty when the file does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class TruthTube:
    """One annotated object."""

    id: int
    """Annotation id."""
    video: int
    """Video id."""
    category: int
    """Category id."""
    crowd: bool
    """iscrowd: a region that several detections may match without being counted."""
    ignore: bool
    """The file's own ignore flag."""
    areas: tuple[float, ...] | None
    """The file's per-frame areas without null and 0, or None when it has no such list."""
    masks: TubeMasks
    """From ``segmentations``."""
    refined: TubeMasks | None = None
    """From ``segmentations_refined`` (HQ-YTVIS), where the annotation has it."""
    stated_area: float = 0.0
    """Mean of ``areas``, 0 without any."""
    mask_area: float = 0.0
    """Mean pixels of ``masks`` over the frames where the object is."""
    refined_area: float = 0.0
    """The same of ``refined``."""


@dataclass(frozen=True, slots=True, eq=False)
class ResultTube:
    """One predicted object."""

    index: int
    """Place in the results file, from 0."""
    video: int
    """Video id."""
    category: int
    """Category id."""
    score: float
    """Finite; only its order counts."""
    masks: TubeMasks
    """One per frame of the results entry."""
    mask_area: float = 0.0
    """Mean pixels over the frames where the object is."""
    box_area: float | None = None
    """Width times height of its ``bbox``, where COCO's rule takes sizes from boxes; None: from the masks."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A whole truth file."""

    videos: dict[int, Video]
    """By id, rising."""
    categories: dict[int, Category]
    """By id, rising."""
    tubes: list[TruthTube] = field(default_factory=list)
    """In file order."""
