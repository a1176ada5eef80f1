"""A cache of its own for every test, a stand-in file server, and stand-in wheels."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vis.weights.table import Source, Weight

PAYLOAD = bytes(i * i % 251 for i in range(300_000))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("VISTUBES_CACHE", str(folder))
    monkeypatch.delenv("VISTUBES_OFFLINE", raising=False)
    return folder


@pytest.fixture
def payload() -> bytes:
    return PAYLOAD


@pytest.fixture
def weight_of():
    """Make a table row for the payload with the given sources."""

    def make(*sources: Source, data: bytes = PAYLOAD, name: str = "toy") -> Weight:
        digest = hashlib.sha256(data).hexdigest()
        return Weight(name, f"{name}.bin", digest, len(data), "CC0-1.0", sources)

    return make


class FileServer:
    """Serves ``files``; ``cut_after`` drops the connection after so many bytes, once per entry."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cut_after: list[int] = []
        self.wait_seconds = 0.0
        self.requests: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.requests.append((self.path, wanted))
                data = server.files.get(self.path)
                if data is None:
                    return self.send_error(404)
                time.sleep(server.wait_seconds)
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
                if start >= len(data):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                body = data[start:]
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if server.cut_after:
                    body = body[: server.cut_after.pop(0)]
                    self.close_connection = True
                self.wfile.write(body)
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make one-member wheels in a folder that is all that pip may look at."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def make(member: str, data: bytes, name: str = "toy_carrier", version: str = "1.2") -> Path:
        path = folder / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        texts = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            "Requires-Python: <3\nRequires-Dist: something-that-does-not-exist\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, data)
            for file, text in texts.items():
                archive.writestr(file, text)
            archive.writestr(
                f"{info}/RECORD", "".join(f"{n},,\n" for n in [*archive.namelist(), f"{info}/RECORD"])
            )
        return path

    return make


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a stand-in npm on the path: it packs ``toy@1.0`` into the folder it runs in, and fails for anything else."""
    folder = tmp_path / "npm"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    script = folder / "npm"

    def make(member: str, data: bytes) -> None:
        with tarfile.open(folder / "packed", "w:gz") as archive:
            for name, content in (("package/README.md", b"first"), (member, data)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        script.write_text(
            f"#!/bin/sh\n"
            f'if [ "$1 $2 $3" = "pack toy@1.0 --ignore-scripts" ]; then exec /bin/cp {folder}/packed toy-1.0.tgz; fi\n'
            f'echo "npm error code ETARGET" >&2; echo "npm error notarget No version of $2." >&2\n'
            f'echo "npm error A log of this run is in /somewhere" >&2; exit 1\n'
        )
        script.chmod(0o755)

    return make
