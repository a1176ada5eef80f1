"""``vistubes models list|fetch|verify``: which weights there are, getting them, checking them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vis import weights
from vis.errors import UsageError

__all__ = ["configure", "run"]

_EPILOG = """examples:
  vistubes models list
  vistubes models fetch                      what the quick preset needs
  vistubes models fetch hq-l yolox-nano      by model or by file name
  vistubes models fetch hq-l --from ~/Downloads/sam_hq_vit_l.pth
  vistubes models verify

Files lie in $VISTUBES_CACHE, else in the user's cache folder. VISTUBES_OFFLINE=1 forbids the network.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's own verbs and options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Model weights: what exists, what is in the cache, and getting the rest."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="models_verb", metavar="{list,fetch,verify}", required=True)
    verbs.add_parser("list", help="name, size, licence, and whether the cache has it")
    fetch = verbs.add_parser("fetch", help="download, verify, and keep in the cache")
    fetch.add_argument(
        "names", nargs="*", metavar="NAME", help="weights or models (default: the quick preset's)"
    )
    fetch.add_argument(
        "--from", dest="file", type=Path, metavar="FILE", help="take this file instead (one NAME)"
    )
    verify = verbs.add_parser("verify", help="read cached files again and compare their sha256")
    verify.add_argument(
        "names", nargs="*", metavar="NAME", help="weights or models (default: all in the cache)"
    )
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="print one JSON object to stdout")


def run(args: argparse.Namespace) -> int:
    """Do the chosen verb; 0 when all is well, 1 when ``verify`` found a bad file."""
    actions = {"list": _list, "fetch": _fetch, "verify": _verify}
    rows, code = actions[args.models_verb](args)
    if args.json:
        print(json.dumps({"cache": str(weights.cache_folder()), "weights": rows}))
    return code


def _list(args: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    rows = [_row(weight) for weight in weights.WEIGHTS.values()]
    if not args.json:
        print(f"{'name':<16} {'size':>9}  {'cached':<6}  {'licence':<30}  what, and the models that use it")
        for row in rows:
            users = f" ({', '.join(row['models'])})" if row["models"] else ""
            print(
                f"{row['name']:<16} {_size(row['bytes']):>9}  {'yes' if row['cached'] else '-':<6}  "
                f"{row['licence']:<30}  {row['note']}{users}"
            )
        print(f"\ncache: {weights.cache_folder()}\n\nmodels of a hub, fetched whole at their first use:")
        for model in weights.HUB_MODELS.values():
            print(f"{model.name:<16} {model.repository:<32}  {model.licence:<30}  {model.note}")
    return rows, 0


def _fetch(args: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    chosen = _weights_named(args.names or weights.QUICK)
    if args.file is not None and len(chosen) != 1:
        raise UsageError(f"--from gives one file, so it needs exactly one NAME; got {len(chosen)}")
    for weight in chosen:
        known = weights.cached(weight)
        if args.file is not None:
            path = weights.add(weight, args.file)
        else:
            path = weights.fetch(weight, progress=None if known else _Bar(weight.name))
        _say(f"{weight.name}: {'already in the cache' if known and args.file is None else 'ready'}, {path}")
    return [_row(weight) for weight in chosen], 0


def _verify(args: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    chosen = _weights_named(args.names or weights.WEIGHTS)
    if not args.names:
        chosen = [weight for weight in chosen if weights.file_path(weight).exists()]
    rows = [_row(weight, rehash=True) for weight in chosen]
    for row in rows:
        path = Path(row["path"])
        if row["cached"]:
            _say(f"{row['name']}: sha256 {row['sha256']}, as expected")
        elif path.exists():
            _say(f"{row['name']}: {path} is damaged; `vistubes models fetch {row['name']}` gets it again")
        else:
            _say(f"{row['name']}: not in the cache; `vistubes models fetch {row['name']}`")
    if not rows:
        _say(f"nothing in the cache ({weights.cache_folder()})")
    return rows, 0 if all(row["cached"] for row in rows) else 1


def _weights_named(names: Iterable[str]) -> Sequence[weights.Weight]:
    """The weights behind the names, each once, in order; all names are checked before any work."""
    return list(dict.fromkeys(weights.find(name) for name in names))


def _row(weight: weights.Weight, *, rehash: bool = False) -> dict[str, Any]:
    return {
        "name": weight.name,
        "path": str(weights.file_path(weight)),
        "bytes": weight.bytes,
        "sha256": weight.sha256,
        "licence": weight.licence,
        "cached": weights.cached(weight, rehash=rehash),
        "models": [model.name for model in weights.MODELS.values() if model.weights == weight.name],
        "note": weight.note,
    }


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class _Bar:
    """Percent on one line of a terminal; silent elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = -1

    def __call__(self, have: int, size: int) -> None:
        percent = 100 * have // size
        if percent == self._shown or not sys.stderr.isatty():
            return
        self._shown = percent
        end = "\n" if percent >= 100 else ""
        print(f"\r{self._name}: {percent:3d} % of {_size(size)}", end=end, file=sys.stderr, flush=True)
