"""Do identities hold through crossings, occlusion, leaving and returning, and a shaking camera?

    python -m benchmarks.identity --data FOLDER [--seed 10] [--scenes crossings,shake] [--frames 300] [--json]

Real cut-outs pasted over real clips (``_scenes``), so that the truth is exact; a detector simulated
with misses, jitter, false objects and wrong labels; colours of the real pixels as embeddings. Every
tracker runs with its defaults on the same detections; where the camera shakes, those that predict
are told of it as ``vis.video.motion`` finds it. Each result is scored as it is and after offline
linking: HOTA, AssA, DetA on boxes, ID switches. Settings were chosen on ``--seed 0``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _scenes
from trackers import TRACKERS, create
from trackers.linking import drop_short, link
from vis import masks as rle
from vis.evaluation.tracking_metrics import identity_metrics
from vis.structures import Detections, Tube, VideoInfo, VideoResult
from vis.video.motion import CameraMotion

CAMERA = ("sort", "bytetrack", "ocsort", "botsort")
MIN_FRAMES = 3
"""Shorter tubes are dropped from every result, as when tubes are collected."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with davis16/ and videos/")
    parser.add_argument("--seed", type=int, default=10, help="added to each scene's own seed")
    parser.add_argument("--scenes", default="", help="names, with commas; all of them when empty")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args()
    wanted = args.scenes.split(",") if args.scenes else [scene.name for scene in _scenes.SCENES]
    names = [name for name in TRACKERS if name != "native"]

    rows: dict[str, dict[str, Any]] = defaultdict(dict)
    for scene in _scenes.SCENES:
        if scene.name not in wanted:
            continue
        print(f"scene {scene.name}", file=sys.stderr)
        scene = replace(scene, seed=scene.seed + args.seed, frames=args.frames)
        truth, found = run(scene, args.data, names)
        for name, (result, looks) in found.items():
            rows[name][scene.name] = scores(truth, drop_short(result, MIN_FRAMES))
            rows[f"{name} + link"][scene.name] = scores(truth, link(result, looks, min_frames=MIN_FRAMES))
            rows[f"{name} + link, no looks"][scene.name] = scores(truth, link(result, min_frames=MIN_FRAMES))
    table = {name: summary(by_scene) for name, by_scene in rows.items()}
    online = max((name for name in table if "link" not in name), key=lambda name: table[name]["hota"])
    linked = max((name for name in table if "link" in name), key=lambda name: table[name]["hota"])
    report = {"seed": args.seed, "frames": args.frames, "table": table, "scenes": rows}
    report |= {"best_online": online, "best_linked": linked}
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    print(f"HOTA, AssA, DetA and IDF1 in %, ID switches, tubes; then HOTA by scene: {', '.join(wanted)}")
    print(f"{'':<26}{'HOTA':>6}{'AssA':>6}{'DetA':>6}{'IDF1':>6}{'IDs':>6}{'tubes':>6}")
    for name, row in table.items():
        figures = "".join(f"{100 * row[key]:6.1f}" for key in ("hota", "ass_a", "det_a", "idf1"))
        each = " ".join(f"{100 * scene['hota']:.1f}" for scene in rows[name].values())
        print(f"{name:<26}{figures}{row['id_switches']:>6}{row['tubes']:>6}  {each}")
    return 0


def run(
    scene: _scenes.Scene, data: Path, names: list[str]
) -> tuple[VideoResult, dict[str, tuple[VideoResult, dict[int, np.ndarray]]]]:
    """All trackers side by side over one scene: the truth, and each tracker's tubes and their looks."""
    video = VideoInfo(scene.name, _scenes.HEIGHT, _scenes.WIDTH, scene.frames, float(_scenes.FPS))
    camera = CameraMotion()
    running = {name: create(name) for name in names}
    truth, tubes = Collector(), {name: Collector() for name in names}
    for t, seen in enumerate(_scenes.play(scene, data)):
        masks = rle.encode_many(seen.detections.masks)
        truth.add(t, seen.truth, seen.truth.track_ids, range(len(seen.truth)), None)
        moved = camera(seen.image) if scene.shake else None
        for name, tracker in running.items():
            if moved is not None and name in CAMERA:
                tracker.compensate(moved)
            out = tracker.update(seen.detections, t / _scenes.FPS)
            rows = [row for row, status in enumerate(tracker.statuses) if status == 0]
            tubes[name].add(t, seen.detections, out.track_ids, rows, masks)
    return truth.result(video)[0], {name: collector.result(video) for name, collector in tubes.items()}


class Collector:
    """Tubes as they grow, with the embedding of every row beside them."""

    def __init__(self) -> None:
        self.rows: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        self.frames = 0

    def add(self, t: int, found: Detections, ids: Any, rows: Any, masks: Any) -> None:
        self.frames = t + 1
        for identity, row in zip(ids.tolist(), rows, strict=True):
            look = None if found.embeddings is None else found.embeddings[row]
            mask = None if masks is None else masks[row]
            self.rows[identity].append(
                (t, found.boxes[row], found.scores[row], int(found.labels[row]), mask, look)
            )

    def result(self, video: VideoInfo) -> tuple[VideoResult, dict[int, np.ndarray]]:
        tubes, looks = [], {}
        for identity, rows in sorted(self.rows.items()):
            frames, boxes, scores, labels, masks, vectors = zip(*rows, strict=True)
            score = np.array(scores, np.float32)
            tubes.append(
                Tube(
                    identity,
                    int(np.bincount(labels, weights=score).argmax()),
                    float(score.mean()),
                    np.array(frames, np.int64),
                    np.stack(boxes),
                    score,
                    None if masks[0] is None else masks,
                )
            )
            if vectors[0] is not None:
                looks[identity] = np.stack(vectors)
        index = np.arange(self.frames, dtype=np.int64)
        return VideoResult(video, _scenes.CLIPS, tuple(tubes), index, index / _scenes.FPS), looks


def scores(truth: VideoResult, result: VideoResult) -> dict[str, Any]:
    boxes_only = replace(result, tubes=tuple(replace(tube, masks=None) for tube in result.tubes))
    found = identity_metrics(truth, boxes_only)
    row: dict[str, Any] = {
        key: round(float(getattr(found, key)), 4) for key in ("hota", "ass_a", "det_a", "idf1")
    }
    return {
        **row,
        "id_switches": int(found.id_switches),
        "tubes": len(result.tubes),
        "objects": len(truth.tubes),
    }


def summary(by_scene: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Means over the scenes; sums of what is counted."""
    rows = list(by_scene.values())
    mean = {
        key: round(sum(row[key] for row in rows) / len(rows), 4) for key in ("hota", "ass_a", "det_a", "idf1")
    }
    return {**mean, **{key: sum(row[key] for row in rows) for key in ("id_switches", "tubes", "objects")}}


if __name__ == "__main__":
    raise SystemExit(main())
