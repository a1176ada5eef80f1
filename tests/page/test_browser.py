"""The whole way in a real Chromium: open, run, look, correct, compare, download; light, dark and laptop."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from urllib.parse import unquote

from tests.page.driving import STATUS, click_video, drag_video, open_and_run, tool, wait_done, wait_for
from vis.formats import tubes as tubes_format


def test_from_upload_to_export(tab, clip, served, shots, tmp_path):
    from playwright.sync_api import expect

    shots(tab, "1-empty")
    assert "press “Use two squares.mp4”" in tab.inner_text(".vt-empty")
    tab.set_input_files("#vt-file input[type=file]", clip)
    wait_for(tab, "#vt-card", "320 × 180")
    assert "To process: 24 frames" in tab.inner_text("#vt-card")
    assert tab.locator(".vt-image").evaluate("(i) => i.naturalWidth") == 320

    tab.click("#vt-run")
    wait_for(tab, STATUS, "objects in 24 frames")
    wait_done(tab)
    wait_for(tab, ".vt-where", "1 of 24")
    rows = tab.locator(".vt-row")
    expect(rows).to_have_count(2)  # the blue square is away for no longer than the association bridges
    expect(rows.first).to_contain_text("red thing 1")
    shots(tab, "2-run")

    # A click into the middle of a bar goes to the middle of the clip.
    track = tab.locator(".vt-track").first.bounding_box()
    tab.mouse.click(track["x"] + track["width"] * 0.52, track["y"] + 5)
    wait_for(tab, ".vt-where", "frame 12 ·")
    tab.keyboard.press("ArrowRight")
    wait_for(tab, ".vt-where", "frame 13 ·")
    tab.keyboard.press("Home")
    wait_for(tab, ".vt-where", "frame 0 ·")

    tool(tab, "+ Click")
    click_video(tab, 260, 130)  # the blue square, for the red object
    wait_for(tab, ".vt-message", "Correct 1 on frame 0 (1 point).")
    shots(tab, "3-click")
    tool(tab, "Box")
    drag_video(tab, 15, 35, 65, 85)
    wait_for(tab, ".vt-message", "(box)")
    tool(tab, "New object")
    click_video(tab, 200, 20)
    wait_for(tab, ".vt-message", "Add ")
    tab.keyboard.press("c")
    expect(tab.locator(".vt-candidate-text")).to_have_text("2 of 3: part")
    tab.get_by_role("button", name="‹ mask").click()
    expect(tab.locator(".vt-candidate-text")).to_have_text("1 of 3: whole")
    expect(rows).to_have_count(3)
    tab.get_by_role("button", name=re.compile("^Undo")).click()
    wait_for(tab, ".vt-message", "Undone: add")
    expect(rows).to_have_count(2)
    tab.locator(".vt-name").first.click()
    tab.get_by_role("button", name="Merge", exact=True).click()
    wait_for(tab, ".vt-message", "Merge 2 into 1.")
    expect(rows).to_have_count(1)
    tab.keyboard.press("z")
    wait_for(tab, ".vt-message", "Undone: merge")
    tab.locator(".vt-name").nth(1).click()
    wait_for(tab, ".vt-object", "Object 2")
    tab.get_by_role("button", name="whole", exact=True).click()
    wait_for(tab, ".vt-message", "Delete 2.")
    expect(rows).to_have_count(1)
    shots(tab, "4-corrected")

    tab.click("#vt-compare-button")
    tab.wait_for_selector(".vt-table tbody tr")
    assert "red thing 1" in tab.inner_text(".vt-table")
    tab.wait_for_function("() => document.querySelector('.vt-hq').naturalWidth === 960")
    both = [tab.locator(name).bounding_box() for name in (".vt-sam", ".vt-hq")]
    assert both[0] == both[1]
    tab.get_by_label("Where SAM ends").fill("80")
    assert "80%" in tab.locator(".vt-hq").evaluate("(i) => i.style.clipPath")
    shots(tab, "5-compare")

    tab.get_by_role("tab", name="Download").click()
    tab.get_by_label("edits.json").check()
    tab.click("#vt-prepare")
    wait_for(tab, "#vt-download-status", "4 files ready.")
    video = tab.locator("#vt-video video")
    video.evaluate("(v) => { v.muted = true; return v.play(); }")
    tab.wait_for_function("() => document.querySelector('#vt-video video').currentTime > 0.2")
    state = video.evaluate("(v) => [v.readyState, v.videoWidth, v.videoHeight, v.error]")
    assert state[0] >= 2
    assert state[1:] == [320, 180, None]
    shots(tab, "6-download")
    tab.wait_for_selector("#vt-files a[download]")
    assert str(served.folder) not in unquote(tab.content())  # no address holds a folder of the server
    files = {}
    for link in tab.locator("#vt-files a[download]").all():
        with tab.expect_download() as download:
            link.click()
        files[download.value.suggested_filename] = Path(download.value.path())
    assert set(files) == {"two-squares-overlay.mp4", "tubes.json", "results.json", "edits.json"}
    result = tubes_format.read(files["tubes.json"])
    assert result.tubes[0].id == 1
    entries = json.loads(files["results.json"].read_text())
    assert len(entries) == len(result.tubes)
    assert all(len(entry["segmentations"]) == 24 for entry in entries)


def test_cancel_keeps_what_was_found(tab, served, shots):
    gate = threading.Event()  # the run waits until it has been cancelled
    served.model_cache.before_frame = lambda index: time.sleep(0.25) if index < 3 else gate.wait(60)
    try:
        tab.click("#vt-sample")
        wait_for(tab, "#vt-card", "320 × 180")
        tab.click("#vt-run")
        wait_for(tab, STATUS, " left")
        assert "of 24 frames" in tab.inner_text(STATUS)
        assert tab.locator(".vt-image").evaluate("(i) => i.naturalWidth") == 320
        shots(tab, "7-running")
        tab.click("#vt-cancel")
        wait_for(tab, STATUS, "Stopping")
        gate.set()
        wait_for(tab, STATUS, "Stopped after")
        done = int(re.search(r"after (\d+) frames", tab.inner_text(STATUS)).group(1))
        assert done < 12
        wait_for(tab, ".vt-where", f"of {done}")
    finally:
        served.model_cache.before_frame = lambda index: None


def test_who_waits_for_another_visitors_run_sees_the_queue(tab, chromium, served, arrived):
    gate = threading.Event()  # the first run waits until the second visitor has seen the queue
    served.model_cache.before_frame = lambda index: None if index == 0 else gate.wait(60)
    other = chromium.new_context()
    try:
        tab.click("#vt-sample")
        wait_for(tab, "#vt-card", "320 × 180")
        tab.click("#vt-run")
        wait_for(tab, STATUS, "of 24 frames")
        second = other.new_page()
        second.set_default_timeout(60_000)
        second.goto(served.url)
        arrived(second)
        second.click("#vt-sample")
        wait_for(second, "#vt-card", "320 × 180")
        second.click("#vt-run")
        wait_for(second, "#vt-status", "queue")
        tab.click("#vt-cancel")
        wait_for(tab, STATUS, "Stopping")
        again = threading.Event()
        served.model_cache.before_frame = lambda index: None if index == 0 else again.wait(60)
        gate.set()
        wait_for(tab, STATUS, "Stopped after")
        wait_for(second, STATUS, "of 24 frames")
        second.click("#vt-cancel")
        wait_for(second, STATUS, "Stopping")
        again.set()
        wait_for(second, STATUS, "Stopped after")
    finally:
        served.model_cache.before_frame = lambda index: None
        other.close()


def test_the_card_shows_the_last_change_though_an_earlier_answer_comes_late(tab, monkeypatch):
    from apps.demo import upload

    describe = upload.describe

    def slow_at_first(session, model_cache, words, span):
        shown = describe(session, model_cache, words, span)
        if span.stride == 1 and span.end_seconds == 1.5:
            time.sleep(1.5)
        return shown

    monkeypatch.setattr(upload, "describe", slow_at_first)
    tab.click("#vt-sample")
    wait_for(tab, "#vt-card", "To process: 24 frames")
    tab.get_by_label("To (s)").fill("1.5")
    tab.wait_for_timeout(300)
    tab.get_by_label("Every nth").fill("3")
    tab.get_by_label("Every nth").press("Tab")
    wait_for(tab, "#vt-card", "To process: 6 frames")
    tab.wait_for_timeout(2000)
    assert "To process: 6 frames" in tab.inner_text("#vt-card")


def test_a_clip_of_the_webcam_is_an_upload_like_any_other(tab, served, shots):
    names: list[str] = []
    for _ in range(2):  # the second replaces the first
        tab.get_by_role("button", name="Use the webcam").click()
        record = tab.locator(".vt-webcam-record")
        tab.wait_for_function("() => !document.querySelector('.vt-webcam-record').disabled")
        assert tab.locator(".vt-webcam-live").evaluate("(v) => v.videoWidth") > 0
        record.click()
        tab.wait_for_function("() => document.querySelector('.vt-webcam-text').innerText > 'Recording: 1.5'")
        shots(tab, "11-webcam")
        record.click()
        tab.wait_for_function("() => !document.querySelector('.vt-webcam-box').open")
        assert tab.locator(".vt-webcam-live").evaluate("(v) => v.srcObject") is None  # the camera is off
        tab.wait_for_function(
            """(before) => {
                const name = document.querySelector('#vt-card strong')?.innerText ?? '';
                return name.startsWith('webcam ') && !before.includes(name);
            }""",
            arg=names,
        )
        names.append(tab.inner_text("#vt-card strong"))
        tab.wait_for_function("() => document.querySelector('.vt-image').naturalWidth > 0")
    assert all(re.fullmatch(r"webcam \d\d-\d\d-\d\d\.(mp4|webm)", name) for name in names)
    tab.click("#vt-run")
    wait_done(tab)
    assert "frames" in tab.inner_text(STATUS)
    tab.get_by_role("button", name="Use the webcam").click()
    tab.get_by_role("button", name="Close", exact=True).click()
    assert tab.locator(".vt-webcam-live").evaluate("(v) => v.srcObject") is None


def test_looking_around_by_mouse_keys_and_play(tab):
    open_and_run(tab)
    click_video(tab, 260, 130)
    wait_for(tab, ".vt-object", "Object 2")
    tab.keyboard.press("ArrowUp")
    wait_for(tab, ".vt-object", "Object 1")
    for _ in range(9):  # faster than they are answered: none is lost
        tab.keyboard.press("ArrowRight")
    wait_for(tab, ".vt-where", "frame 9 ·")
    tab.keyboard.press("Home")
    wait_for(tab, ".vt-where", "frame 0 ·")
    click_video(tab, 5, 5)  # nothing is there: the selection stays
    tab.keyboard.press("ArrowDown")
    wait_for(tab, ".vt-object", "Object 2")
    tab.keyboard.press("]")
    wait_for(tab, ".vt-where", "frame 10 ·")  # where the blue square leaves
    tab.keyboard.press("End")
    wait_for(tab, ".vt-where", "24 of 24")
    tab.keyboard.press(" ")  # from the end it begins again, and stops there by itself
    wait_for(tab, ".vt-play", "Pause")
    wait_for(tab, ".vt-play", "Play")
    wait_for(tab, ".vt-where", "24 of 24")


def test_one_class_alone_until_an_object_of_another_is_chosen(tab):
    from playwright.sync_api import expect

    open_and_run(tab)
    rows = tab.locator(".vt-row")
    tab.get_by_role("button", name="blue thing (1)").click()
    expect(rows).to_have_count(1)
    expect(tab.get_by_role("button", name="blue thing (1)")).to_have_attribute("aria-pressed", "true")
    tab.keyboard.press("ArrowUp")
    wait_for(tab, ".vt-object", "Object 2")  # the red one above is hidden
    expect(rows).to_have_count(1)
    click_video(tab, 40, 60)
    wait_for(tab, ".vt-object", "Object 1")
    expect(rows).to_have_count(2)


def test_new_objects_one_click_each_followed_at_once(tab):
    from playwright.sync_api import expect

    open_and_run(tab)
    tool(tab, "New object")
    tab.get_by_text("follow it at once").click()
    tick = tab.locator(".vt-at-once")
    assert tick.is_checked()
    assert tick.evaluate("node => getComputedStyle(node).appearance") == "auto"  # drawn with its tick
    tab.get_by_label("Name of the new object").fill("fin")  # f is no shortcut in a name
    # The red square is there all the time; the blue one leaves for frames 10 to 13.
    for number, (x, y), stretches in ((3, (40, 60), 1), (4, (270, 130), 2)):
        click_video(tab, x, y)
        wait_for(tab, STATUS, f"Followed object {number} over frames 0 to")
        row = tab.locator(f".vt-row[data-id='{number}']")
        expect(row.locator(".vt-present")).to_have_count(stretches)
        expect(row).to_contain_text("fin")
    tab.keyboard.press("z")
    wait_for(tab, ".vt-message", "Undone: follow 4")


def test_by_hand_from_an_empty_timeline(tab, shots):
    from playwright.sync_api import expect

    tab.click("#vt-sample")
    wait_for(tab, "#vt-card", "320 × 180")
    tab.click("#vt-hand")
    wait_for(tab, STATUS, "24 frames are ready")
    wait_done(tab)
    expect(tab.locator(".vt-row")).to_have_count(0)
    wait_for(tab, ".vt-none", "nothing was looked for")
    tool(tab, "New object")
    click_video(tab, 40, 60)
    wait_for(tab, ".vt-message", "Press Follow (f)")
    tab.keyboard.press("f")
    wait_for(tab, STATUS, "Followed object 1 over frames 0 to 23")
    expect(tab.locator(".vt-row")).to_have_count(1)
    shots(tab, "12-by-hand")
