"""``vistubes demo``: the page. Upload, watch, correct, compare, take home.

``handlers`` answers what the visitor does, over ``session`` (a folder per visitor), ``engines`` (networks,
loaded once), ``opening``, ``running``, ``correcting``, ``comparing`` and ``taking_home``; ``pictures`` and
``words`` say what is shown; ``page`` alone knows Gradio.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from apps.option_types import number, positive, whole

__all__ = ["configure", "make_page", "run"]

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
    from vis.errors import InputError, UsageError

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


def make_page(
    folder: Path,
    *,
    offered: Path | None = None,
    device: str = "auto",
    keep_seconds: float = 24 * 3600,
    max_frames: int = 3000,
    engines: Any = None,
    warm: bool = True,
) -> tuple[Any, dict[str, Any]]:
    """The Gradio app and the options to launch it with; ``engines`` may be a stand-in.

    Raises :class:`vis.errors.DependencyError` when Gradio is not installed.
    """
    folder = folder.resolve()
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True, mode=0o700)
    # Read by Gradio when it is imported or when it serves: no telemetry, no hub, files in our folder.
    os.environ.update(GRADIO_TEMP_DIR=str(cache), GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    _require_gradio()
    from apps.demo.engines import Engines
    from apps.demo.handlers import Desk
    from apps.demo.page import build, launch_options
    from apps.demo.session import Sessions

    desk = Desk(
        Sessions(folder, keep_seconds=keep_seconds),
        engines or Engines(device=device),
        cache=cache,
        offered=offered,
        max_frames=max_frames,
    )
    if warm:
        # No daemon: the interpreter must not end in the middle of loading a network.
        threading.Thread(target=_warm, args=(desk,), name="warm").start()
    return build(desk, secret=_secret(folder)), launch_options(folder)


def _warm(desk: Any) -> None:
    """Load the default networks before the first visitor asks; what fails here is said when it is asked for."""
    import contextlib

    from apps.demo.command import plan_of
    from vis import weights
    from vis.errors import VisError

    if all(weights.cached(weights.WEIGHTS[name]) for name in weights.QUICK):
        with contextlib.suppress(VisError):
            desk.engines.warm(plan_of(["--preset", "quick"]))


def _require_gradio() -> None:
    from vis.errors import DependencyError

    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            "the page needs Gradio; install it with: pip install 'vis-tubes[demo]'"
        ) from error


def _auth(text: str | None) -> tuple[str, str] | None:
    from vis.errors import UsageError

    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise UsageError("--auth: expected NAME:PASSWORD, both not empty")
    return name, password


def _default_folder() -> Path:
    from vis import weights

    return weights.cache_folder() / "page"


def _secret(folder: Path) -> str:
    """The key of the visitors' tokens in their browsers; kept, so that a restart knows them again."""
    path = folder / "secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16), encoding="utf-8")
    return path.read_text(encoding="utf-8")
