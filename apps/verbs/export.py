"""``vistubes export``: a refiner as two ONNX files, encoder and decoder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from apps.option_types import path_text

__all__ = ["configure", "run"]

_EXAMPLE = """\
example:
  vistubes export hq-tiny --out onnx/
    writes onnx/hq-tiny-encoder.onnx and onnx/hq-tiny-decoder.onnx

The encoder takes a frame (1, 3, 1024, 1024), the decoder its features and the prompts of any number of
objects; docs/hqsam.md describes every input and output. Weights keep their licence.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "model", type=path_text, help="a model by name (see `vistubes models list`) or a checkpoint file"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the files (default: here)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Write both files and say where they are."""
    from vis.errors import OutputError
    from vis.hqsam import load_model
    from vis.hqsam.onnx_export import export_decoder, export_encoder

    stem = Path(args.model).stem
    files = {part: args.out / f"{stem}-{part}.onnx" for part in ("encoder", "decoder")}
    # Another checkpoint may have the same name.
    if not args.overwrite and (there := next((file for file in files.values() if file.exists()), None)):
        raise OutputError(
            f"{there}: exists; add --overwrite to replace it, or choose another folder with --out"
        )
    model = load_model(args.model, device="cpu", mode="exact")
    export_encoder(model, files["encoder"])
    export_decoder(model, files["decoder"])
    if args.json:
        print(json.dumps({"model": model.describe(), **{k: str(v) for k, v in files.items()}}))
    else:
        for file in files.values():
            print(f"wrote {file} ({file.stat().st_size / 2**20:.1f} MiB)", file=sys.stderr)
    return 0
