"""Requests written by hand, past the page."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret", "sessions"])
def test_a_path_of_the_server_in_place_of_an_upload_opens_nothing(served, path):
    """As a visitor may send it who writes requests by hand."""
    own = str(served.folder / path) if path == "sessions" else path
    names = ("preset", "detector", "tracker", "classes", "text", "score", "start", "end", "stride")
    fields = dict.fromkeys(names, "")
    fields |= {"preset": "quick", "score": 0.3, "start": 0, "end": 0, "stride": 1}
    file = {"path": own, "orig_name": "clip.mp4", "meta": {"_type": "gradio.FileData"}}
    told = post(served.url, "start", [""])
    assert "Open a video to begin" in told
    told = post(served.url, "open", [file, *fields.values()])
    assert "event: error" in told
    assert "root:" not in told
    told = post(served.url, "run", ["/etc/passwd", *list(fields.values())[1:]])
    assert "objects in" not in told


def post(url: str, name: str, data: list[Any]) -> str:
    """Everything that the server answers to one call by hand."""
    body = json.dumps({"data": data, "session_hash": "byhand"}).encode()
    request = urllib.request.Request(
        f"{url}/gradio_api/call/{name}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.loads(answer.read())["event_id"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/{name}/{event}", timeout=60) as answer:
        return answer.read().decode()
