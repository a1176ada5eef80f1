"""What a visitor's eyes and keys find: nothing overlaps at any width, text is read well, everything has a name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.demo.estimating import Estimator
from apps.demo.preset_cards import preset_cards
from apps.plan import Plan
from apps.presets import PRESETS
from tests.page.driving import wait_done

WIDTHS = (1366, 1000, 768)

CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")


def check(tab, name):
    """What a function of ``page_checks.js`` returns on the page."""
    return tab.evaluate(f"() => {{ {CHECKS}; return {name}(); }}")


def faults_at_every_width(tab, name, shots=None):
    """Geometry at every width, and contrast in both themes; with a picture of each where ``shots`` takes them."""
    found = []
    tab.add_style_tag(content="* { transition: none !important; }")
    for theme in ("light", "dark"):
        tab.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        found += [f"{name}, {theme}: {fault}" for fault in check(tab, "contrast")]
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            tab.evaluate(
                "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            found += [f"{name}, {theme}, {width} px: {fault}" for fault in check(tab, "geometry")]
            if shots is not None:
                shots(tab, f"{name}-{width}-{theme}")
    tab.evaluate("() => document.body.classList.remove('dark')")
    return found


def test_nothing_overlaps_and_all_text_is_read_well_at_every_width_light_and_dark(tab, shots):
    from playwright.sync_api import expect

    assert faults_at_every_width(tab, "13-empty") == []
    tab.click("#vt-sample")
    expect(tab.locator("#vt-card")).to_contain_text("320 × 180")
    tab.click("#vt-run")
    wait_done(tab)
    expect(tab.locator(".vt-row")).to_have_count(2)
    assert faults_at_every_width(tab, "14-run", shots) == []
    tab.get_by_text("More options").click()
    tab.get_by_role("tab", name="Download").click()
    expect(tab.locator("#vt-command textarea")).to_have_value(re.compile("vistubes run"))
    check(tab, "lengthen")
    assert faults_at_every_width(tab, "15-long") == []
    assert check(tab, "nameless") == []


def test_the_keys_are_an_overlay_that_escape_closes(tab):
    from playwright.sync_api import expect

    keys = tab.get_by_role("dialog", name="Keys")
    tab.keyboard.press("?")
    expect(keys).to_be_visible()
    expect(keys.get_by_role("button", name="Close")).to_be_focused()
    expect(keys).to_contain_text("follow the object through the clip")
    tab.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    button = tab.get_by_role("button", name="Keys ?")
    button.click()
    keys.get_by_role("button", name="Close").click()
    expect(button).to_be_focused()  # where the visitor was
    tab.get_by_label("From (s)").press("?")  # typed, not meant
    expect(keys).to_be_hidden()


def test_every_preset_has_a_card_that_says_what_it_needs_and_how_fast_it_is(monkeypatch):
    monkeypatch.setattr("vis.weights.cached", lambda weight: weight.name != "sam-hq-vit-b")
    monkeypatch.setattr("apps.demo.preset_cards.is_cached", lambda _: True)
    monkeypatch.setattr("apps.demo.preset_cards.refiners.is_ready", lambda name: name != "hq-b")
    estimator = Estimator()
    cards = {name: text.splitlines() for text, name in preset_cards(estimator)}
    assert list(cards) == list(PRESETS)
    assert all(len(lines) == 3 and all(len(line) <= 60 for line in lines) for lines in cards.values())
    assert cards["quick"][0] == "quick"
    assert cards["quick"][2].startswith("Ready: ")
    assert cards["balanced"][2].startswith("To fetch first: ")
    estimator.note_frame(Plan.of("quick"), 1.8)
    estimator.note(Plan.of("best"), 10, 2.5)
    cards = {name: text.splitlines() for text, name in preset_cards(estimator)}
    assert cards["quick"][0] == "quick · roughly 1.6 frames/s"
    assert cards["best"][0] == "best · about 4.0 frames/s"


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_card_of_a_preset_asks_for_the_weights_that_its_detector_takes(name):
    import inspect

    import detectors
    from apps.demo.preset_cards import _CARDS

    found = detectors._REGISTRY.find(PRESETS[name].detector)
    given = {key: parameter.default for key, parameter in inspect.signature(found).parameters.items()}
    given |= PRESETS[name].detector_settings
    taken = [given["weights"], *([given["saliency"]] if "saliency" in given else [])]
    assert list(_CARDS[name].detector) == taken
