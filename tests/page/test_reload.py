"""A page that is loaded again shows the work, the settings and the status of before."""

from __future__ import annotations

import json
from dataclasses import replace

from apps.demo.command import Form
from apps.demo.handlers import Handlers
from apps.demo.session import Sessions
from apps.presets import PRESETS
from tests.page.driving import wait_done, wait_for


def test_settings_and_status_come_back_after_a_reload_and_a_restart(
    handlers, model_cache, clip, tmp_path, monkeypatch
):
    monkeypatch.setattr("vis.weights.cached", lambda _: True)
    token, _, _ = handlers.start(None)
    assert handlers.form(token) is None
    form = Form("balanced", "ssd", "iou", ["cat"], "red car", 0.25, 0.5, 1.5, 3, "full")
    # Another preset and detector: their threshold, and none of the classes of before.
    card, follows = handlers.form_changed(token, replace(form, score=0.15))
    assert follows == handlers.form(token) == replace(form, classes=[], score=PRESETS["balanced"].min_score)
    assert handlers.form_changed(token, form) == (card, None)
    assert handlers.form(token) == form
    opened = handlers.upload(token, str(clip), replace(form, start=None, end=None))[0].text
    assert handlers.start(token)[1].text == opened
    told = list(handlers.run(token, replace(form, detector=None, classes=[])))[-1].text
    handlers.form_changed(token, form)
    for wrong in (Form("nonsense"), replace(form, text=7), replace(form, score=float("nan"))):
        handlers.form_changed(token, wrong)  # such a form could not be shown
    _, update, card = handlers.start(token)
    assert update.text == told
    assert "To process: 4 frames" in card

    restarted = Handlers(Sessions(tmp_path / "page"), model_cache, cache=tmp_path / "cache2")
    sentence = told.partition("<p>")[2].partition("</p>")[0]
    assert f"Your work from before is open again. {sentence}" in restarted.start(token)[1].text
    assert restarted.form(token) == form

    file = handlers.sessions.get(token).folder / "session.json"
    note = json.loads(file.read_text())
    del note["form"], note["status"]  # as an earlier version wrote it
    file.write_text(json.dumps(note))
    restarted = Handlers(Sessions(tmp_path / "page"), model_cache, cache=tmp_path / "cache3")
    assert "Your work from before is open again." in restarted.start(token)[1].text
    assert restarted.form(token) is None


def test_an_error_comes_back_as_one_after_a_reload_and_a_restart_and_goes_with_the_next_run(
    handlers, model_cache, visit, tmp_path
):
    def seen_again(handlers):
        return handlers.start(visit)[1].text

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    for fail in (
        lambda: list(handlers.run(visit, Form(start=99)))[-1].text,
        lambda: handlers.upload(visit, str(broken), Form())[0].text,
    ):
        told = fail()
        assert "class='vt-error' role='alert'" in told
        assert seen_again(handlers) == told
        restarted = Handlers(Sessions(tmp_path / "page"), model_cache, cache=tmp_path / "cache2")
        assert "Your work from before is open again." in seen_again(restarted)
        assert "class='vt-error' role='alert'" in seen_again(restarted)
    told = list(handlers.run(visit, Form()))[-1].text
    assert seen_again(handlers) == told
    assert "vt-error" not in told

    stranger, _, _ = handlers.start(None)  # nothing is open, so nothing is on the disk
    told = list(handlers.run(stranger, Form()))[-1].text
    assert "no video is open" in told.lower()
    assert handlers.start(stranger)[1].text == told


def test_reloading_the_page_brings_work_settings_and_status_back(tab):
    from playwright.sync_api import expect

    def choose(field, option):
        tab.get_by_label(field, exact=True).click()
        tab.get_by_role("option", name=option, exact=True).click()

    tab.get_by_text("More options").click()
    tab.get_by_role("radio", name="balanced").check(force=True)  # its card is what is seen of it
    expect(tab.locator("#vt-score input[type=number]")).to_have_value("0.5")
    choose("Detector", "ssd")
    choose("Tracker", "iou")
    tab.get_by_role("textbox", name="Text prompt").fill("person . red car")
    tab.locator("#vt-score input[type=number]").fill("0.25")
    tab.click("#vt-sample")
    wait_for(tab, "#vt-card", "To process: 24 frames")
    choose("Classes", "Cat")  # of the detector: its list has come by now
    tab.get_by_label("From (s)").fill("0.5")
    tab.get_by_label("Every nth").fill("2")
    tab.get_by_label("Every nth").press("Tab")
    wait_for(tab, "#vt-card", "To process: 9 frames")
    tab.click("#vt-run")
    wait_for(tab, "#vt-status", "objects in 9 frames")
    wait_done(tab)
    told = tab.inner_text("#vt-status .vt-status")
    tab.keyboard.press("End")
    wait_for(tab, ".vt-where", "9 of 9")

    fields = {"Tracker": "iou"}
    fields |= {"From (s)": "0.5", "To (s)": "2", "Every nth": "2", "Detector": "ssd"}
    for _ in range(2):  # what the page puts back is not taken for the visitor's own change
        tab.reload()
        tab.wait_for_selector(".vt-row")
        wait_for(tab, "#vt-status", told)
        wait_for(tab, "#vt-card", "To process: 9 frames")
        wait_for(tab, "#vt-card", "two squares.mp4")
        wait_for(tab, ".vt-where", "9 of 9")
        expect(tab.get_by_role("radio", name="balanced")).to_be_checked()
        tab.get_by_text("More options").click()
        for name, value in fields.items():
            expect(tab.get_by_label(name, exact=True)).to_have_value(value)
        expect(tab.get_by_role("textbox", name="Text prompt")).to_have_value("person . red car")
        expect(tab.locator("#vt-score input[type=number]")).to_have_value("0.25")
        expect(tab.locator("#vt-classes")).to_contain_text("Cat")
