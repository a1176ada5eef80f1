"""What a visitor does in the browser, and how the tests wait for the page."""

from __future__ import annotations

STATUS = "#vt-status .vt-status"


def wait_for(tab, selector, text):
    tab.wait_for_function(
        "([s, t]) => [...document.querySelectorAll(s)].some((e) => e.innerText.includes(t))",
        arg=[selector, text],
    )


def open_and_run(tab):
    tab.click("#vt-sample")
    wait_for(tab, "#vt-card", "320 × 180")
    tab.click("#vt-run")
    wait_for(tab, STATUS, "objects in 24 frames")
    wait_done(tab)
    wait_for(tab, ".vt-where", "1 of 24")


def wait_done(tab):
    """The status and the picture come one after the other; keys count once the picture knows that nothing runs."""
    tab.wait_for_function("() => document.body.dataset.vtState === 'done'")


def at(tab, x, y, size=(320, 180)):
    """Where a pixel of the clip lies in the window: the picture is fitted into the middle of the stage."""
    box = tab.locator(".vt-stage").bounding_box()
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left, top = (box["width"] - scale * size[0]) / 2, (box["height"] - scale * size[1]) / 2
    return box["x"] + left + scale * x, box["y"] + top + scale * y


def click_video(tab, x, y):
    tab.mouse.click(*at(tab, x, y))


def drag_video(tab, x0, y0, x1, y1):
    tab.mouse.move(*at(tab, x0, y0))
    tab.mouse.down()
    tab.mouse.move(*at(tab, (x0 + x1) / 2, (y0 + y1) / 2))
    tab.mouse.move(*at(tab, x1, y1))
    tab.mouse.up()


def tool(tab, name):
    tab.get_by_role("button", name=name, exact=True).click()
