"""Requests written by hand, past the page."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from apps.demo.addresses import listed


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret", "sessions"])
def test_a_path_of_the_server_in_place_of_an_upload_opens_nothing(served, path):
    """As a visitor may send it who writes requests by hand."""
    own = str(served.folder / path) if path == "sessions" else path
    names = ("preset", "detector", "tracker", "classes", "text", "score", "start", "end", "stride", "speed")
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


def status_of(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_an_address_of_a_download_holds_no_folder_and_opens_prepared_files_alone(served, monkeypatch):
    folder = served.folder / "cache" / ("k" * 32)
    folder.mkdir()
    film, odd = folder / "clip-overlay.mp4", folder / "a b%2f#.json"
    film.write_bytes(bytes(range(100)))
    odd.write_bytes(b"{}")
    (served.folder / "sessions" / ("s" * 32)).mkdir()
    (served.folder / "sessions" / ("s" * 32) / "base.json").write_text("{}")
    told = listed((film, odd), film)
    assert str(served.folder) not in json.dumps(told)
    assert [(row["name"], row["size"]) for row in told["files"]] == [(film.name, 100), (odd.name, 2)]
    assert told["video"] == told["files"][0]["address"] == f"download/{'k' * 32}/clip-overlay.mp4"
    for row, file in zip(told["files"], (film, odd), strict=True):
        assert status_of(f"{served.url}/{row['address']}") == (200, file.read_bytes())
    part = status_of(f"{served.url}/{told['video']}", {"Range": "bytes=10-19"})
    assert part == (206, bytes(range(10, 20)))
    for wrong in (
        "l" * 32 + "/clip-overlay.mp4",
        "k" * 32 + "/..",
        "k" * 32 + "/..%2f..%2fsecret",
        "s" * 32 + "/base.json",
    ):
        status, body = status_of(f"{served.url}/download/{wrong}")
        assert status in (403, 404)
        assert str(served.folder).encode() not in body
    assert str(served.folder).encode() not in status_of(f"{served.url}/config")[1]
    monkeypatch.setattr(served.page.app, "auth", {"name": "password"})
    assert status_of(f"{served.url}/{told['video']}")[0] == 401
