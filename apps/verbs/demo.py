"""``vistubes demo``: the page, served."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from apps.option_types import number, positive, whole
from vis.errors import InputError, UsageError

__all__ = ["configure", "run"]

EPILOG = """\
The page is for this machine alone unless --host says otherwise; then give it a password too. Visitors'
files lie in folders of their own under --folder and go after --keep-hours without a visit. Nothing is
fetched from outside, and nothing is sent there.

examples:
  vistubes demo
  vistubes demo --open clip.mp4 --browser
  VISTUBES_AUTH=name:password vistubes demo --host 0.0.0.0 --port 8000
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``demo``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--open", type=Path, metavar="FILE", help="a clip to offer instead of the sample clip"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)"
    )
    parser.add_argument("--port", type=whole(1, 65_535), default=7860, help="port (default: 7860)")
    parser.add_argument(
        "--auth",
        metavar="NAME:PASSWORD",
        help="ask for these; better as $VISTUBES_AUTH, which 'ps' does not show",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where visitors' files lie (default: in the cache)"
    )
    parser.add_argument(
        "--keep-hours",
        type=number(0, 1e6, above=True),
        default=24.0,
        metavar="H",
        help="remove visitors' files after (default: 24)",
    )
    parser.add_argument(
        "--max-frames",
        type=positive,
        default=3000,
        metavar="N",
        help="frames that one run may take (default: 3000)",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.add_argument("--browser", action="store_true", help="open the page in the browser")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from apps.demo import make_page

    if args.open is not None and not args.open.is_file():
        raise InputError(f"--open {args.open}: no such file; give a video")
    auth = _auth(args.auth or os.environ.get("VISTUBES_AUTH"))
    page, options = make_page(
        args.folder or _default_folder(),
        offered=args.open,
        device=args.device,
        keep_seconds=args.keep_hours * 3600,
        max_frames=args.max_frames,
    )
    if args.host not in ("127.0.0.1", "localhost", "::1") and auth is None:
        print(
            "vistubes: warning: whoever reaches this address can use the page; set VISTUBES_AUTH",
            file=sys.stderr,
        )
    try:
        page.launch(
            server_name=args.host,
            server_port=args.port,
            auth=auth,
            inbrowser=args.browser,
            quiet=True,
            prevent_thread_lock=True,
            **options,
        )
    except OSError as error:
        raise UsageError(
            f"--host {args.host} --port {args.port}: cannot be listened on; it may be taken, choose another --port"
        ) from error
    print(f"The page is at http://{args.host}:{args.port} (Ctrl-C ends it)", file=sys.stderr)
    page.block_thread()
    return 0


def _auth(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise UsageError("--auth: expected NAME:PASSWORD, both not empty")
    return name, password


def _default_folder() -> Path:
    from vis import weights

    return weights.cache_folder() / "page"
