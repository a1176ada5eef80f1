"""Strangers in the browser: names that look like markup, files that are no video, other visitors, the limit."""

from __future__ import annotations

import dataclasses

import pytest

from tests.page.driving import STATUS, open_and_run, wait_for


def test_a_script_as_label_is_text(tab):
    open_and_run(tab)
    evil = "<img src=x onerror=alert(1)>"
    tab.on("dialog", lambda dialog: pytest.fail("a label ran as script"))
    tab.fill(".vt-label", evil)
    tab.get_by_role("button", name="Rename").click()
    wait_for(tab, ".vt-name-text", evil)
    assert tab.locator("#vt-timeline img").count() == 0


def test_a_file_that_is_no_video_says_what_to_do(tab, tmp_path, shots):
    broken = tmp_path / "<b>broken.mp4"
    broken.write_bytes(b"not a video at all" * 50)
    tab.set_input_files("#vt-file input[type=file]", broken)
    tab.wait_for_selector("#vt-status .vt-error")
    text = tab.inner_text(STATUS)
    assert "broken.mp4" in text
    assert "/" not in text.replace("and/or", "")
    assert tab.locator("#vt-status b").count() == 0
    tab.click("#vt-run")
    wait_for(tab, STATUS, "press 'Use two squares.mp4'")
    shots(tab, "8-error")


def test_two_visitors_do_not_see_each_other(tab, chromium, served, arrived):
    open_and_run(tab)
    context = chromium.new_context()
    stranger = context.new_page()
    stranger.goto(served.url)
    arrived(stranger)
    assert stranger.locator(".vt-row").count() == 0
    mine = [folder for folder in (served.folder / "sessions").iterdir() if (folder / "base.json").exists()]
    answer = context.request.get(f"{served.url}/gradio_api/file={mine[0] / 'base.json'}")
    assert answer.status == 403
    context.close()


def test_a_file_over_the_limit_is_refused_before_it_is_stored(
    chromium, clip, tmp_path, serve, arrived, monkeypatch
):
    from vis import video

    monkeypatch.setattr(video, "WEB_LIMITS", dataclasses.replace(video.WEB_LIMITS, bytes=50_000))
    running = serve(tmp_path / "small", offered=clip)
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(running.url)
    arrived(page)
    large = tmp_path / "large.mp4"
    large.write_bytes(clip.read_bytes() + b"\0" * 60_000)
    page.set_input_files("#vt-file input[type=file]", large)
    page.get_by_text("exceed").first.wait_for()
    assert page.inner_text("#vt-card").startswith("Nothing is open")
    assert [path for path in (tmp_path / "small").rglob("*large*") if path.is_file()] == []
    page.click("#vt-sample")  # and the page goes on
    wait_for(page, "#vt-card", "320 × 180")
    context.close()
