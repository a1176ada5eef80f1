"""The page. Upload, watch, correct, compare, download.

``handlers`` answers what the visitor does, over ``session`` (a folder per visitor), ``model_cache`` (networks,
loaded once), ``upload``, ``running``, ``editing``, ``comparing`` and ``downloads``; ``views`` and
``labels`` say what is shown; ``layout`` and ``page`` alone know Gradio.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from pathlib import Path
from typing import Any

__all__ = ["make_page"]


def make_page(
    folder: Path,
    *,
    offered: Path | None = None,
    device: str = "auto",
    keep_seconds: float = 24 * 3600,
    max_frames: int = 3000,
    model_cache: Any = None,
    warm: bool = True,
) -> tuple[Any, dict[str, Any]]:
    """The Gradio app and the options to launch it with; ``model_cache`` may be a stand-in.

    Raises :class:`vis.errors.DependencyError` when Gradio is not installed.
    """
    folder = folder.resolve()
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True, mode=0o700)
    # Read by Gradio when it is imported or when it serves: no telemetry, no hub, files in our folder.
    os.environ.update(GRADIO_TEMP_DIR=str(cache), GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    _require_gradio()
    from apps.demo.handlers import Handlers
    from apps.demo.model_cache import ModelCache
    from apps.demo.page import build, launch_options
    from apps.demo.session import Sessions

    handlers = Handlers(
        Sessions(folder, keep_seconds=keep_seconds),
        model_cache or ModelCache(device=device),
        cache=cache,
        offered=offered,
        max_frames=max_frames,
    )
    if warm:
        # No daemon: the interpreter must not end in the middle of loading a network.
        threading.Thread(target=_warm, args=(handlers,), name="warm").start()
    return build(handlers, secret=_secret(folder)), launch_options(folder)


def _warm(handlers: Any) -> None:
    """Load the default networks before the first visitor asks; what fails here is said when it is asked for."""
    import contextlib

    from apps.plan import Plan
    from vis import weights
    from vis.errors import VisError

    if all(weights.cached(weights.WEIGHTS[name]) for name in weights.QUICK):
        with contextlib.suppress(VisError):
            handlers.model_cache.warm(Plan.of("quick"))


def _require_gradio() -> None:
    from vis.errors import DependencyError

    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            "the page needs Gradio; install it with: pip install 'vis-tubes[demo]'"
        ) from error


def _secret(folder: Path) -> str:
    """The key of the visitors' tokens in their browsers; kept, so that a restart knows them again."""
    path = folder / "secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16), encoding="utf-8")
    return path.read_text(encoding="utf-8")
