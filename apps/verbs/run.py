"""``vistubes run``: one video in, a run folder out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.options import (
    add_association,
    add_output,
    add_refiner,
    add_source,
    add_speed,
    output_of,
    plan_of,
    selection_of,
)
from apps.plan import Selection, source_path
from apps.run_folder import Output, check_replaceable, new_run_folder
from vis.errors import OutputError
from vis.interfaces import CountedFrames

if TYPE_CHECKING:
    from apps.job import VideoJob
    from vis.interfaces import FrameSource
    from vis.structures import VideoResult

__all__ = ["configure", "run", "run_job"]

EPILOG = """\
The run folder holds overlay.mp4, results.json (YTVIS results), tubes.json (the full result),
contact_sheet.png and run.json (versions, weights, options, timings). Results are written before pictures are
drawn: a picture that cannot be drawn is missing, run.json says why under "pictures", and the exit code is 1.
Ctrl-C keeps the frames that were finished: results.json, tubes.json and a run.json that says "partial"; the exit
code is 130. A video that reads no further in its middle keeps them too, with the reason (exit code 1).

examples:
  vistubes run clip.mp4
  vistubes run frames/ --fps 24 --out runs/frames
  vistubes run clip.mp4 --detector yolox --weights yolox_s.onnx --classes person,dog --tracker bytetrack
  vistubes run clip.mp4 --start 10s --end 20s --stride 2 --json
  vistubes run sample                       the sample clip of the documentation
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``run``."""
    parser.epilog = EPILOG
    add_source(parser)
    add_association(parser)
    add_refiner(parser)
    add_speed(parser)
    add_output(parser, default="runs/NAME")


def run(args: argparse.Namespace) -> int:
    """Do it; errors leave as exceptions of vis.errors."""
    from apps.job import Job

    return run_job(
        lambda: Job(plan_of(args), device=args.device),
        source_path(args.source),
        selection_of(args),
        output_of(args),
        stops=True,
        keeps_readable=True,
    )


def run_job(
    make_job: Callable[[], VideoJob],
    path: Path,
    selection: Selection,
    output: Output,
    *,
    stops: bool = False,
    keeps_readable: bool = False,
    command: Sequence[str] | None = None,
    done: Callable[[VideoResult], None] | None = None,
) -> int:
    """What ``run``, ``track``, ``refine``, ``fill`` and ``follow`` do alike once they know what to run.

    The source and the folder are looked at before ``make_job`` loads any weights: a wrong path is
    told at once. Results are final before a picture is drawn. ``stops``: Ctrl-C keeps the frames that were
    finished, without pictures. ``keeps_readable``: a video that reads no further keeps them too, unless --strict.
    ``command``: what repeats this run, if not the process's own arguments. ``done`` gets the result once it is saved.
    """
    from apps import rendering, report
    from apps.identity import default_folder, source_identity

    started = time.time()
    source = selection.open(path)
    out = output.folder or default_folder(Path("runs"), source.info.name, path)
    check_replaceable(out, overwrite=output.overwrite)
    job = make_job()
    if not output.quiet:
        if output.folder is None and out.name != source.info.name:
            print(f"runs/{source.info.name}/ is of another video; this one goes to {out}/", file=sys.stderr)
        print(job.describe(), file=sys.stderr)
    with new_run_folder(out, overwrite=output.overwrite) as folder:
        result, partial = _processed(
            job,
            source,
            quiet=output.quiet,
            stops=stops,
            keeps_readable=keeps_readable and not selection.strict,
        )
        report.write_results(folder.part, result)
        record = report.run_record(job, result, source_identity(path), selection, started)
        if command is not None:
            record["command"] = list(command)
        if partial is not None:
            record["partial"] = partial
        stopped = partial is not None and "reason" not in partial
        record["pictures"] = dict(rendering.LEFT_OUT if stopped else rendering.PENDING)
        report.write_record(folder.part, record)
    if done is not None:
        done(result)
    missing: dict[str, Exception] = {}
    if not stopped:
        try:
            with job.watch("draw"):
                missing = rendering.draw(
                    source,
                    result,
                    folder.out,
                    audio_from=path if path.is_file() else None,
                    overlay=output.overlay,
                    quiet=output.quiet,
                    watch=job.watch,
                )
            record["pictures"] = rendering.drawn(missing)
        except KeyboardInterrupt:
            stopped = True
            record["partial"] = {"frames": len(result.frames), "of": len(result.frames)}
            record["pictures"] = {"state": "failed", "reason": "interrupted"}
        record |= report.costs(job, result, started)
        try:
            report.write_record(folder.out, record)
        except OutputError as error:
            missing["run.json"] = error
    if not output.quiet:
        print(report.tube_table(result), file=sys.stderr)
        print(f"\nwritten to {folder.out}/", file=sys.stderr)
    if output.json:
        print(json.dumps({**record, "out": str(folder.out)}))
    return _ending(folder.out, record, missing, stopped=stopped)


def _processed(
    job: VideoJob, source: FrameSource, *, quiet: bool, stops: bool, keeps_readable: bool
) -> tuple[VideoResult, dict[str, Any] | None]:
    """The result, and what part of the video it is where it is not of the whole."""
    from apps.interrupt import ReadableFrames, StopOnCtrlC

    readable = ReadableFrames(source) if keeps_readable else None
    frames = readable or source
    if stops:
        with StopOnCtrlC() as stop:
            result = job.process(stop.watched(frames), quiet=quiet)
        stopped = stop.asked
    else:
        result, stopped = job.process(frames, quiet=quiet), False
    if stopped and not len(result.frames):
        raise KeyboardInterrupt
    expected = source.expected_frames if isinstance(source, CountedFrames) else None
    partial = {"frames": len(result.frames), "of": expected}
    if stopped:
        return result, partial
    if readable is not None and readable.failure is not None:
        return result, {**partial, "reason": str(readable.failure)}
    return result, None


def _ending(out: Path, record: dict[str, Any], missing: Mapping[str, Exception], *, stopped: bool) -> int:
    """Say what is there where not all is; the exit code."""
    from apps.rendering import reason

    partial = record.get("partial", {})
    if stopped:
        print(
            f"vistubes: interrupted: {partial['frames']} of about {partial['of'] or 'an unknown number of'} frames are "
            f"in {out}/, without overlay.mp4; run it again with --overwrite for all of it",
            file=sys.stderr,
        )
        return 130
    if partial:
        count = partial["frames"]
        before = f"The {count} frames before it are" if count != 1 else "The frame before it is"
        print(f"vistubes: error: {partial['reason']}. {before} in {out}/", file=sys.stderr)
    for name, error in missing.items():
        print(f"vistubes: error: {name} could not be written: {reason(error)}", file=sys.stderr)
    if missing:
        there = ", ".join(sorted(file.name for file in out.iterdir() if not file.name.startswith(".")))
        print(f"vistubes: the results are whole: {out}/ holds {there}", file=sys.stderr)
    return 1 if partial or missing else 0
