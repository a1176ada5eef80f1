"""The page itself: which handler answers what. It and ``layout`` alone know Gradio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from apps.demo.addresses import DownloadAddresses, listed
from apps.demo.classes import offered_classes
from apps.demo.command import Form
from apps.demo.handlers import Handlers
from apps.demo.layout import compare_tab, custom, download_tab, left_column
from apps.demo.running import Update

__all__ = ["build", "launch_options"]

HEAVY: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 1}
"""One run, one export, one following at a time for the whole server: the others wait in the queue."""
STEPS: dict[str, Any] = {"concurrency_limit": 4, "show_progress": "hidden"}


def build(handlers: Handlers, *, secret: str) -> Any:
    """The Gradio app. ``secret`` encrypts the visitor's token in the browser; keep it over restarts."""
    with gr.Blocks(
        title="vis-tubes", analytics_enabled=False, fill_width=True, delete_cache=(900, 7200)
    ) as page:
        token = gr.State("")
        saved = gr.BrowserState("", storage_key="vistubes-visit", secret=secret)
        custom("head", {})
        with gr.Row(equal_height=False, elem_id="vt-columns"):
            with gr.Column(elem_id="vt-left"):
                left = left_column(handlers)
            with gr.Column(elem_id="vt-right"):
                viewer = custom("viewer", {"total": 0, "all": [], "clicks": [], "offer": handlers.offer})
                timeline = custom("timeline", {"rows": [], "total": 0})
                with gr.Tabs():
                    compare = compare_tab()
                    download = download_tab()
        parts = _Page(handlers, token, viewer, timeline, left)
        _wire_opening(parts, page, saved)
        _wire_runs(parts)
        _wire_form(parts)
        _wire_viewer(parts)
        _wire_tabs(parts, page, compare, download)
    page.queue(max_size=20, default_concurrency_limit=4)
    return page


@dataclass(frozen=True)
class _Page:
    """The parts that more than one group of events takes or changes."""

    handlers: Handlers
    token: Any
    viewer: Any
    timeline: Any
    left: dict[str, Any]

    @property
    def shown(self) -> list[Any]:
        """What ``_parts`` gives: viewer, timeline, status."""
        return [self.viewer, self.timeline, self.left["status"]]

    @property
    def form(self) -> list[Any]:
        """The fields of :class:`Form`, in its order."""
        return [self.left[field.name] for field in fields(Form)]

    @property
    def running(self) -> dict[str, Any]:
        """Settings of an event that takes long and tells how far it is."""
        return {**HEAVY, "show_progress": "minimal", "show_progress_on": self.left["status"]}


def _wire_opening(parts: _Page, page: Any, saved: Any) -> None:
    """A visit begins, a clip is opened."""
    handlers, token, left, form = parts.handlers, parts.token, parts.left, parts.form

    def start(before: str) -> tuple[Any, ...]:
        mine, update, card = handlers.start(before)
        return (
            mine,
            mine,
            *_parts(update),
            card,
            *_restored(handlers.form(mine), handlers.length(mine), handlers.preset_cards()),
        )

    def upload(mine: str, path: str | None, *fields: Any) -> tuple[Any, ...]:
        update, card = handlers.upload(mine, path, _whole_clip(fields))
        return *_parts(update), card, 0, handlers.length(mine), None

    def sample(mine: str, *fields: Any) -> tuple[Any, ...]:
        update, card = handlers.sample(mine, _whole_clip(fields))
        return *_parts(update), card, 0, handlers.length(mine)

    def _whole_clip(fields: tuple[Any, ...]) -> Form:
        # Another clip has another length: from and to begin anew.
        return replace(Form(*fields), start=None, end=None)

    opened = [*parts.shown, left["card"]]
    part = [left["start"], left["end"]]
    page.load(start, [saved], [token, saved, *opened, *form], api_name="start", show_progress="hidden")
    left["file"].upload(
        upload,
        [token, left["file"], *form],
        # The field is empty again: what it showed would be a link that holds the server's folder.
        [*opened, *part, left["file"]],
        api_name="open",
        show_progress="hidden",
    )
    left["sample"].click(sample, [token, *form], [*opened, *part], api_name="sample", show_progress="hidden")


def _wire_runs(parts: _Page) -> None:
    """The clip is run, whole or in part, with objects found or drawn by hand."""
    handlers, token, left, form = parts.handlers, parts.token, parts.left, parts.form

    def run(mine: str, *fields: Any) -> Iterator[tuple[Any, ...]]:
        for update in handlers.run(mine, Form(*fields)):
            yield _parts(update)

    def look(mine: str, *fields: Any) -> Iterator[tuple[Any, ...]]:
        for update in handlers.run(mine, Form(*fields), quick_look=True):
            yield _parts(update)

    def by_hand(mine: str, *fields: Any) -> Iterator[tuple[Any, ...]]:
        for update in handlers.run(mine, replace(Form(*fields), detector="none")):
            yield _parts(update)

    ended = [
        left["run"].click(run, [token, *form], parts.shown, api_name="run", **parts.running),
        left["look"].click(look, [token, *form], parts.shown, api_name="quick_look", **parts.running),
    ]
    for event in ended:  # now the cards know the run's speed
        event.then(
            lambda: gr.Radio(choices=handlers.preset_cards()),
            [],
            [left["preset"]],
            api_visibility="private",
            **STEPS,
        )
    left["hand"].click(by_hand, [token, *form], parts.shown, api_name="by_hand", **parts.running)
    left["cancel"].click(
        handlers.cancel, [token], [left["status"]], api_name="cancel", show_progress="hidden", queue=False
    )


def _wire_form(parts: _Page) -> None:
    """The visitor changes a field of the form: what the others offer, the card, and what a reload brings back."""
    handlers, left = parts.handlers, parts.left

    def changed(mine: str, *values: Any) -> tuple[Any, ...]:
        form = Form(*values)
        card, follows = handlers.form_changed(mine, form)
        if follows is None:
            return card, gr.skip(), gr.skip()
        score = gr.skip() if follows.score == form.score else follows.score
        names = offered_classes(follows.preset, follows.detector)
        return card, score, gr.Dropdown(choices=names, value=list(follows.classes or ()))

    # "input" is the visitor's own: "change" tells of what a reload puts back, too, one field after the other, and the
    # forms between would be kept. One event for all: each its own, a slow answer to an earlier one could stand at the
    # end.
    gr.on(
        [field.input for field in parts.form],
        changed,
        [parts.token, *parts.form],
        [left["card"], left["score"], left["classes"]],
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="hidden",
    )


def _wire_viewer(parts: _Page) -> None:
    """What is done on the picture: seeking, correcting, following."""
    handlers, token = parts.handlers, parts.token

    def seek(mine: str, event: gr.EventData) -> tuple[Any, ...]:
        return _parts(handlers.seek(mine, event._data))[:2]

    def act(mine: str, event: gr.EventData) -> tuple[Any, ...]:
        return _parts(handlers.act(mine, event._data))[:2]

    def follow(mine: str, engine: str, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        for update in handlers.follow(mine, event._data, engine):
            yield _parts(update)

    # Not "always_last": it forgets the event's data. The viewer sends one request at a time.
    steps: dict[str, Any] = {"trigger_mode": "multiple", "api_visibility": "private", **STEPS}
    parts.viewer.seek(seek, [token], parts.shown[:2], **steps)
    parts.viewer.act(act, [token], parts.shown[:2], **steps)
    parts.viewer.follow(
        follow, [token, parts.left["engine"]], parts.shown, api_name="follow", **parts.running
    )


def _wire_tabs(parts: _Page, page: Any, compare: dict[str, Any], download: dict[str, Any]) -> None:
    """Comparing, measuring, downloading."""
    handlers, token = parts.handlers, parts.token

    def prepare(mine: str, wanted: list[str]) -> Iterator[tuple[Any, ...]]:
        for package in handlers.download(mine, wanted):
            page.upload_file_set.update(str(file) for file in package.files)  # they go with the uploads
            yield package.text, listed(package.files, package.overlay) if package.files else gr.skip()

    def measure(mine: str, path: str | None) -> tuple[str, None]:
        return handlers.measure(mine, path), None

    compare["button"].click(
        handlers.compare,
        [token, compare["zoom"], compare["left"], compare["right"]],
        [compare["slider"], compare["numbers"]],
        api_name="compare",
        show_progress="minimal",
        **HEAVY,
    )
    compare["truth"].upload(
        measure, [token, compare["truth"]], [compare["ap"], compare["truth"]], api_name="measure", **HEAVY
    )
    download["button"].click(
        prepare,
        [token, download["choices"]],
        [download["status"], download["files"]],
        api_name="download",
        show_progress="minimal",
        show_progress_on=download["status"],
        **HEAVY,
    )
    download["tab"].select(
        handlers.commands, [token], [download["line"]], api_name="commands", show_progress="hidden"
    )


def _parts(update: Update) -> tuple[Any, ...]:
    """Viewer, timeline and status; what does not change is skipped."""
    return tuple(
        gr.skip() if part in (None, "") else part for part in (update.view, update.timeline, update.text)
    )


def _restored(form: Form | None, length: float, cards: list[tuple[str, str]]) -> list[Any]:
    """The fields as they stood before a reload; of a clip that was never run, its length alone."""
    if form is None:
        return [gr.Radio(choices=cards), *[gr.skip()] * 6, length, gr.skip(), gr.skip()]
    classes = gr.Dropdown(choices=offered_classes(form.preset, form.detector), value=list(form.classes or ()))
    options = [form.detector or "", form.tracker or "", classes, form.text or "", form.score]
    part = [form.start or 0, form.end or length, form.stride or 1]
    return [gr.Radio(value=form.preset, choices=cards), *options, *part, form.speed or ""]


def launch_options(folder: Path) -> dict[str, Any]:
    """How the page is served whatever the address: closed, quiet, and nothing from outside."""
    from vis.video import WEB_LIMITS

    css = (resources.files("apps.demo") / "assets" / "page.css").read_text(encoding="utf-8")
    return {
        "share": False,
        "show_error": False,
        "max_file_size": WEB_LIMITS.bytes,
        "allowed_paths": [],
        "blocked_paths": [str(folder / "sessions"), str(folder / "secret")],
        "enable_monitoring": False,
        "strict_cors": True,
        "app_kwargs": {"middleware": [Middleware(DownloadAddresses, cache=folder / "cache")]},
        "ssr_mode": False,
        "footer_links": [],
        "state_session_capacity": 500,
        "css": css,
        "theme": _theme(),
    }


def _theme() -> Any:
    """Fonts of the machine itself, and colours that text is read well on, in light and dark."""
    theme = gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )
    return theme.set(
        color_accent="*primary_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_border_color="*primary_600",
        body_text_color_subdued="*neutral_600",
        input_placeholder_color="*neutral_500",
    )
