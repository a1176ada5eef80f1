"""Addresses of the files to download: ``download/KEY/NAME``, which tell nothing of the server's folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["DownloadAddresses", "listed"]

ADDRESS = re.compile(r"/download/([A-Za-z0-9_-]{32})/([^/\\]+)")
"""KEY is the unguessable name of a folder that :func:`apps.demo.downloads.prepare` made."""


def listed(files: tuple[Path, ...], overlay: Path | None) -> dict[str, Any]:
    """What the page lists: name, size in bytes and address of each file, and the address of the film to play."""
    rows = [{"name": file.name, "size": file.stat().st_size, "address": _address(file)} for file in files]
    return {"files": rows, "video": "" if overlay is None else _address(overlay)}


def _address(file: Path) -> str:
    # Relative, so that it holds behind a proxy that serves the page below a prefix, too.
    return f"download/{file.parent.name}/{quote(file.name)}"


class DownloadAddresses:
    """Has the server's own file route answer such an address, with its password, its ranges and its refusals."""

    def __init__(self, app: ASGIApp, cache: Path) -> None:
        self.app = app
        self.cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, one for a prepared file under its place in ``cache``."""
        if scope["type"] == "http":
            found = ADDRESS.fullmatch(scope["path"])
            # What is not there is no business of that route: its refusal names the file's place.
            if found is not None and (file := self.cache / found[1] / found[2]).is_file():
                path = f"/gradio_api/file={file}"
                scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        await self.app(scope, receive, send)
