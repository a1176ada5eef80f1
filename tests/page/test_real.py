"""``vistubes demo`` itself, with the real networks of ``quick``, driven in a real Chromium, and then killed.

No stand-in: another process, the sample clip, saliency, association, HQ-SAM; upload, run, correct, compare,
download. Then the server is killed without warning and started again: the work is there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page.driving import at, tool, wait_for
from vis import weights
from vis.formats import tubes as tubes_format

STATUS = "#vt-status"
PATIENCE_MS = 240_000  # long for a busy machine; nothing waits for it
ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 1280, 720


class Server:
    """A ``vistubes demo`` of its own, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder.with_suffix(".log")

    def start(self) -> None:
        words = ["-m", "apps.cli", "demo", "--port", str(self.port), "--folder", str(self.folder)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words, "--device", "cpu"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "VISTUBES_OFFLINE": "1"},
            )
        until = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"the page did not start: {self.log.read_text()[-500:]}")

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path, chromium) -> Iterator[Server]:
    if not all(weights.cached(weights.WEIGHTS[name]) for name in weights.QUICK):
        pytest.skip("the quick preset's weights are not in the cache; run 'vistubes models fetch'")
    serving = Server(tmp_path / "page")
    serving.start()
    yield serving
    serving.kill()


def wait_done(tab):
    """Wait for the run's end; an error in the status ends it too."""
    tab.wait_for_function(
        """() => (document.body.dataset.vtState === 'done' && !document.querySelector('#vt-status progress'))
            || document.querySelector('#vt-status .vt-error')"""
    )
    assert tab.locator("#vt-status .vt-error").all_inner_texts() == []


@pytest.mark.slow
def test_quick_from_upload_to_export_and_over_a_kill(server, chromium, shots, arrived, tmp_path):
    from playwright.sync_api import expect

    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    tab.on(
        "request",
        lambda r: None if r.url.startswith((server.url, "data:", "blob:")) else complaints.append(r.url),
    )
    tab.set_default_timeout(PATIENCE_MS)
    tab.goto(server.url)
    arrived(tab)

    tab.set_input_files("#vt-file input[type=file]", weights.path("sample"))
    wait_for(tab, "#vt-card", "1280 × 720")
    tab.get_by_label("To (s)").fill("0.5")
    tab.get_by_label("Every nth").fill("4")
    tab.get_by_label("Every nth").press("Tab")
    wait_for(tab, "#vt-card", "To process: 4 frames")
    shots(tab, "real-1-open")
    tab.click("#vt-run")
    wait_done(tab)
    assert "in 4 frames" in tab.inner_text(STATUS)
    wait_for(tab, ".vt-where", "1 of 4")
    rows = tab.locator(".vt-row")
    rows.first.wait_for()  # all come at once
    found = rows.count()
    assert tab.locator(".vt-image").evaluate("(i) => i.naturalWidth") == WIDTH
    shots(tab, "real-2-run")

    track = tab.locator(".vt-track").first.bounding_box()
    tab.mouse.click(track["x"] + track["width"] * 0.6, track["y"] + 5)
    wait_for(tab, ".vt-where", "frame 8 ·")

    # The rabbit comes out of its hole: a point and a box on it, then the stone as a new object.
    tool(tab, "+ Click")
    tab.mouse.click(*at(tab, 180, 420, size=(WIDTH, HEIGHT)))
    wait_for(tab, ".vt-message", "Correct 1 on frame 8 (1 point).")
    tool(tab, "Box")
    tab.mouse.move(*at(tab, 40, 220, size=(WIDTH, HEIGHT)))
    tab.mouse.down()
    tab.mouse.move(*at(tab, 300, 400, size=(WIDTH, HEIGHT)))
    tab.mouse.move(*at(tab, 540, 570, size=(WIDTH, HEIGHT)))
    tab.mouse.up()
    wait_for(tab, ".vt-message", "(box)")
    tool(tab, "New object")
    tab.mouse.click(*at(tab, 950, 360, size=(WIDTH, HEIGHT)))
    wait_for(tab, ".vt-message", "Add ")
    expect(rows).to_have_count(found + 1)
    shots(tab, "real-3-corrected")
    tab.locator(".vt-name").first.click()
    wait_for(tab, ".vt-object", "Object 1")
    other = tab.locator(".vt-other option").last.get_attribute("value")
    tab.locator(".vt-other").select_option(other)
    tool(tab, "Merge")
    wait_for(tab, ".vt-message", f"Merge {other} into 1.")
    expect(rows).to_have_count(found)
    tab.keyboard.press("z")
    wait_for(tab, ".vt-message", "Undone: merge")
    expect(rows).to_have_count(found + 1)
    tab.locator(".vt-name").last.click()
    wait_for(tab, ".vt-object", f"Object {other}")
    tool(tab, "whole")
    wait_for(tab, ".vt-message", f"Delete {other}.")
    expect(rows).to_have_count(found)

    tab.click("#vt-compare-button")
    tab.wait_for_function(
        "() => document.querySelector('.vt-hq').naturalWidth > 0 || document.querySelector('#vt-numbers .vt-error')"
    )
    assert tab.locator("#vt-numbers .vt-error").all_inner_texts() == []
    assert tab.locator(".vt-table tbody tr").count() >= 1
    shots(tab, "real-4-compare")

    tab.get_by_role("tab", name="Download").click()
    tab.get_by_label("Cut-out video with alpha").check()
    tab.click("#vt-prepare")
    wait_for(tab, "#vt-download-status", "4 files ready.")
    film = tab.locator("#vt-video video")
    film.evaluate("(v) => { v.muted = true; v.loop = true; return v.play(); }")
    tab.wait_for_function("() => document.querySelector('#vt-video video').currentTime > 0.05")
    film.evaluate("(v) => v.pause()")
    state = film.evaluate("(v) => [v.readyState >= 2, v.videoWidth, v.videoHeight, v.error]")
    assert state == [True, WIDTH, HEIGHT, None]
    shots(tab, "real-5-download")
    tab.wait_for_selector("#vt-files a[download]")
    files = {}
    for link in tab.locator("#vt-files a[download]").all():
        with tab.expect_download() as download:
            link.click()
        name = download.value.suggested_filename
        files[re.sub("^bigbuckbunny-", "", name)] = Path(download.value.path())
    assert set(files) == {"overlay.mp4", "tubes.json", "results.json", "cutout.webm"}
    result = tubes_format.read(files["tubes.json"])
    assert result.made_with["edits"]["count"] == 4
    entries = json.loads(files["results.json"].read_text())
    assert len(entries) == len(result.tubes) == found
    assert all(len(entry["segmentations"]) == len(result.frames) == 4 for entry in entries)

    # The cut-out plays with its transparency, too.
    data = files["cutout.webm"].read_bytes()
    clear = tab.evaluate(
        """async (bytes) => {
            const v = document.createElement('video');
            v.src = URL.createObjectURL(new Blob([new Uint8Array(bytes)], {type: 'video/webm'}));
            v.muted = true; await v.play();
            const c = document.createElement('canvas'); c.width = v.videoWidth; c.height = v.videoHeight;
            const pen = c.getContext('2d'); pen.drawImage(v, 0, 0);
            return [pen.getImageData(1200, 60, 1, 1).data[3], pen.getImageData(180, 420, 1, 1).data[3], v.error];
        }""",
        list(data),
    )
    assert clear[0] < 20
    assert clear[1] > 235
    assert clear[2] is None

    # Everything finished outlives the server.
    assert complaints == []
    server.kill()
    server.start()
    tab.goto(server.url)
    tab.wait_for_selector(".vt-row")
    expect(rows).to_have_count(found)
    wait_for(tab, "#vt-card", "bigbuckbunny.mp4")
    wait_for(tab, ".vt-history", "Undo (4)")
    shots(tab, "real-6-restarted")
    context.close()
