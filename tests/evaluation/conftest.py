"""A second evaluator, a generator of data sets, and small hand-made sets."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vis import masks
from vis.evaluation import intervals

HERE = Path(__file__).resolve().parent
BENCHMARKS = HERE.parents[1] / "benchmarks"


def load(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    """The slow evaluator, written from the definitions with pycocotools and OpenCV."""
    return load(BENCHMARKS, "_official_recipe")


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The generator of synthetic YTVIS sets."""
    return load(BENCHMARKS, "_synthetic_ytvis")


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """:mod:`vis.evaluation.intervals` in plain numpy."""
    return load(HERE, "reference")


@pytest.fixture(scope="session", params=["compiled", "reference"])
def compute(request: pytest.FixtureRequest, reference: ModuleType) -> ModuleType:
    """Both implementations of what is computed on intervals."""
    return intervals if request.param == "compiled" else reference


class Scene:
    """A hand-made truth and results, of rectangles (x0, y0, x1, y1) over frames of one video."""

    def __init__(self, size=(100, 200), frames=4, videos=1, categories=2):
        self.size, self.frames = size, frames
        self.truth = {
            "videos": [
                {"id": v + 1, "height": size[0], "width": size[1], "length": frames} for v in range(videos)
            ],
            "categories": [{"id": c + 1, "name": f"class {c + 1}"} for c in range(categories)],
            "annotations": [],
        }
        self.results = []

    def rle(self, box):
        mask = np.zeros(self.size, bool)
        x0, y0, x1, y1 = box
        mask[y0:y1, x0:x1] = True
        return masks.to_coco(masks.encode(mask))

    def tube(self, boxes):
        boxes = [boxes] * self.frames if isinstance(boxes, tuple) else boxes
        return [None if box is None else self.rle(box) for box in boxes]

    def add_truth(self, boxes, *, video=1, category=1, **more):
        segmentations = self.tube(boxes)
        areas = [None if m is None else masks.area(masks.from_coco(m)) for m in segmentations]
        entry = {
            "id": len(self.truth["annotations"]) + 1,
            "video_id": video,
            "category_id": category,
            "iscrowd": 0,
            "segmentations": segmentations,
            "areas": areas,
        }
        self.truth["annotations"].append(entry | more)
        return self

    def add_result(self, boxes, *, video=1, category=1, score=0.9, **more):
        entry = {
            "video_id": video,
            "category_id": category,
            "score": score,
            "segmentations": self.tube(boxes),
        }
        self.results.append(entry | more)
        return self


@pytest.fixture(name="Scene")
def scene() -> type[Scene]:
    return Scene


@pytest.fixture(scope="session")
def colour_model() -> ModuleType:
    """A mask model and a detector of flat colours, and pictures for them."""
    return load(HERE, "colour_model")


@pytest.fixture(scope="session")
def papers_data() -> ModuleType:
    """Tiny data sets in the layouts that docs/papers.md names."""
    return load(HERE, "papers_data")
