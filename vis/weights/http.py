"""One file over HTTP: fails fast without a network, goes on where an interruption left it.

Standard library only. ``urllib`` has one timeout for connecting and for reading; a closed network
should be noticed in seconds, yet a slow server may take longer between two blocks, so the
connections here have both.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["download"]

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
RETRIES = 3
_BLOCK = 1 << 18


def download(url: str, part: Path, size: int, progress: Callable[[int, int], None] | None = None) -> None:
    """Read ``url`` into ``part``, continuing what is there; at most ``size`` + 1 bytes in all.

    A connection lost on the way is taken up again with a range request, up to ``RETRIES`` times
    without progress. Raises ``OSError`` with the reason.
    """
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have >= size:
            return  # whole, or too long: the checksum decides
        try:
            _read_on(url, part, have, size, progress)
        except (urllib.error.HTTPError, _NotReached):
            raise
        except (OSError, http.client.HTTPException) as error:
            gained = (part.stat().st_size if part.exists() else 0) > have
            failures = 0 if gained else failures + 1
            if failures >= RETRIES:
                raise OSError(f"interrupted {RETRIES} times: {error}") from error
            time.sleep(0.2 * failures)
        else:
            return


class _NotReached(OSError):
    """The server could not be reached at all; trying again would only cost time."""


def _read_on(url: str, part: Path, have: int, size: int, progress: Callable[[int, int], None] | None) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "vis-tubes"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = _OPENER.open(request)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the server's file is shorter than our part: start anew
            error.close()
            part.unlink()
            return _read_on(url, part, 0, size, progress)
        error.close()
        raise
    except urllib.error.URLError as error:
        raise _NotReached(f"not reached: {error.reason}") from error
    with response:
        begins = f"bytes {have}-"
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(begins)
        have = have if goes_on else 0
        _save(response, part, have, size, progress)
    return None


def _save(
    response: Any, part: Path, have: int, size: int, progress: Callable[[int, int], None] | None
) -> None:
    promised = response.headers.get("Content-Length")
    end = have + int(promised) if promised and promised.isdigit() else None
    with part.open("ab" if have else "wb") as file:
        while have <= size and (block := response.read(min(_BLOCK, size + 1 - have))):
            file.write(block)
            have += len(block)
            if progress:
                progress(have, size)
    if end is not None and have < min(end, size):
        raise OSError(f"the connection ended at byte {have:,} of {end:,}")


def _connect_then_read(connection: http.client.HTTPConnection, connect: Callable[[], None]) -> None:
    connection.timeout = CONNECT_SECONDS
    connect()
    connection.sock.settimeout(READ_SECONDS)


class _Http(http.client.HTTPConnection):
    def connect(self) -> None:
        _connect_then_read(self, super().connect)


class _Https(http.client.HTTPSConnection):
    def connect(self) -> None:
        _connect_then_read(self, super().connect)


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Http, request)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Https, request)


_OPENER = urllib.request.build_opener(_HttpHandler, _HttpsHandler)
