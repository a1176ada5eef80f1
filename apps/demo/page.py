"""The page itself: what stands where, and which handler answers what. The only file that knows Gradio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr

from apps.demo.classes import offered_classes
from apps.demo.command import Form
from apps.demo.downloads import CHOICES, DEFAULT_CHOICES
from apps.demo.handlers import NO_CLIP, Handlers, status_html
from apps.demo.labels import display_name
from apps.demo.running import Update
from apps.demo.upload import SUFFIXES
from apps.presets import PRESETS
from vis import engines, weights

__all__ = ["build", "launch_options"]

HEAVY: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 1}
"""One run, one export, one following at a time for the whole server: the others wait in the queue."""
STEPS: dict[str, Any] = {"concurrency_limit": 4, "show_progress": "hidden"}

KEYS = """\
| key | does | key | does |
|---|---|---|---|
| ← → | one frame (with shift: ten) | p, m | click what belongs, what does not |
| space | play, pause | b | box |
| Home, End | first, last frame | n | new object |
| [ ] | problem before, next problem | f | follow the object through the clip |
| , . | where the object begins, ends | a, e | paint, erase |
| ↑ ↓ | object above, below | v | look; a click selects |
| | | z, shift z | undo, redo |
"""

NO_COMPARISON = "<p class='vt-muted'>The same boxes through two models, on the frame above.</p>"

HEAD = """\
<div class='vt-title'><h1>vis-tubes</h1><p>Video in, object tubes out.</p>
<ol class='vt-way' aria-label='The way through'><li data-states='empty'>1 Open</li>
<li data-states='open running'>2 Find and track</li><li data-states='done'>3 Look and correct</li>
<li data-states=''>4 Compare, download</li></ol></div>
"""


def build(handlers: Handlers, *, secret: str) -> Any:
    """The Gradio app. ``secret`` encrypts the visitor's token in the browser; keep it over restarts."""
    with gr.Blocks(title="vis-tubes", analytics_enabled=False, delete_cache=(900, 7200)) as page:
        token = gr.State("")
        saved = gr.BrowserState("", storage_key="vistubes-visit", secret=secret)
        gr.HTML(HEAD, apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                left = _left(handlers)
            with gr.Column(scale=17, min_width=320):
                viewer = _custom("viewer", {"total": 0, "all": [], "clicks": []})
                timeline = _custom("timeline", {"rows": [], "total": 0})
                with gr.Tabs():
                    compare = _compare_tab()
                    home = _home_tab()
                    with gr.Tab("Keys"):
                        gr.Markdown(KEYS)
        parts = _Page(handlers, token, viewer, timeline, left)
        _wire_opening(parts, page, saved)
        _wire_runs(parts)
        _wire_form(parts)
        _wire_viewer(parts)
        _wire_tabs(parts, compare, home)
    page.queue(max_size=20, default_concurrency_limit=4)
    return page


def _left(handlers: Handlers) -> dict[str, Any]:
    import detectors
    import trackers

    names = [name for name in detectors.names() if name != "precomputed"]
    found: dict[str, Any] = {}
    gr.HTML("<h2 class='vt-heading'>Open</h2>", apply_default_css=False)
    found["file"] = gr.File(
        label="Video or project",
        file_types=[*SUFFIXES, ".zip"],
        type="filepath",
        height=112,
        show_label=False,
        elem_id="vt-file",
    )
    offered = (
        "Use the sample clip" if handlers.offered is None else f"Use {display_name(handlers.offered.name)}"
    )
    with gr.Row(elem_classes="vt-buttons"):
        found["sample"] = gr.Button(offered, size="sm", elem_id="vt-sample", min_width=80)
        _custom("webcam", {}, min_width=80)
    found["card"] = gr.HTML(NO_CLIP, apply_default_css=False, elem_id="vt-card")
    gr.HTML("<h2 class='vt-heading'>Find and track</h2>", apply_default_css=False)
    found["preset"] = gr.Dropdown(
        sorted(PRESETS), value="quick", label="Preset", info=PRESETS["quick"].about, elem_id="vt-preset"
    )
    with gr.Row():
        found["start"] = gr.Number(0, minimum=0, label="From (s)", min_width=60)
        found["end"] = gr.Number(0, minimum=0, label="To (s)", min_width=60)
        found["stride"] = gr.Number(1, minimum=1, precision=0, label="Every nth", min_width=60)
    with gr.Accordion("More options", open=False):
        found["detector"] = gr.Dropdown([("the preset's", ""), *names], value="", label="Detector")
        found["tracker"] = gr.Dropdown([("the preset's", ""), *trackers.names()], value="", label="Tracker")
        found["engine"] = gr.Dropdown([*engines.names()], value=engines.DEFAULT, label="Follow with")
        found["classes"] = gr.Dropdown(
            offered_classes("quick", None),
            value=[],
            multiselect=True,
            allow_custom_value=True,
            label="Classes",
            info="none chosen: all of them",
            elem_id="vt-classes",
        )
        found["text"] = gr.Textbox(
            label="Text prompt", placeholder="for detector 'text': person . red car", max_length=500
        )
        found["score"] = gr.Slider(
            0, 1, value=PRESETS["quick"].min_score, step=0.05, label="Threshold", info="least detection score"
        )
    with gr.Row(elem_classes="vt-buttons"):
        found["run"] = gr.Button("Run", variant="primary", size="md", elem_id="vt-run", min_width=60)
        found["cancel"] = gr.Button("Cancel", size="md", elem_id="vt-cancel", min_width=60)
    with gr.Row(elem_classes="vt-buttons"):
        found["look"] = gr.Button("Quick look", size="sm", elem_id="vt-look", min_width=80)
        found["hand"] = gr.Button("By hand", size="sm", elem_id="vt-hand", min_width=80)
    found["status"] = gr.HTML(status_html("Loading the page …"), apply_default_css=False, elem_id="vt-status")
    return found


def _compare_tab() -> dict[str, Any]:
    with gr.Tab("Compare"):
        with gr.Row():
            button = gr.Button(
                "Compare on this frame", size="sm", elem_id="vt-compare-button", scale=0, min_width=220
            )
            known: list[Any] = [("SAM inside of HQ-SAM", ""), *weights.MODELS, *weights.HUB_MODELS]
            beside = gr.Dropdown(known, value="", label="The run's model beside", elem_id="vt-beside")
            zoom = gr.Checkbox(True, label="Magnify where they differ most", container=False, min_width=280)
        numbers = gr.HTML(NO_COMPARISON, apply_default_css=False, elem_id="vt-numbers")
        slider = _custom("compare", {})
        with gr.Accordion("Measure against a truth file", open=False):
            truth = gr.File(
                label="YTVIS annotations or tubes.json: gives tube AP and tube boundary AP",
                file_types=[".json"],
                height=110,
                elem_id="vt-truth",
            )
            ap = gr.HTML("", apply_default_css=False, elem_id="vt-ap")
    found = {"button": button, "zoom": zoom, "beside": beside, "slider": slider, "numbers": numbers}
    return {**found, "truth": truth, "ap": ap}


def _home_tab() -> dict[str, Any]:
    with gr.Tab("Download") as tab:
        choices = gr.CheckboxGroup(
            [(label, name) for name, label in CHOICES.items()],
            value=list(DEFAULT_CHOICES),
            label="Files",
            elem_id="vt-choices",
        )
        button = gr.Button("Prepare files", variant="primary", size="sm", elem_id="vt-prepare")
        status = gr.HTML("", apply_default_css=False, elem_id="vt-home-status")
        with gr.Row():
            files = gr.File(label="Ready", interactive=False, file_count="multiple", elem_id="vt-files")
            video = gr.Video(label="Overlay", interactive=False, height=300, elem_id="vt-video")
        line = gr.Textbox(
            "",
            label="The same on the command line",
            lines=2,
            interactive=False,
            buttons=["copy"],
            elem_id="vt-command",
        )
    return {
        **{"tab": tab, "choices": choices, "button": button, "status": status},
        **{"files": files, "video": video, "line": line},
    }


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
        names = ("preset", "detector", "tracker", "classes", "text", "score", "start", "end", "stride")
        return [self.left[name] for name in names]

    @property
    def running(self) -> dict[str, Any]:
        """Settings of an event that takes long and tells how far it is."""
        return {**HEAVY, "show_progress": "minimal", "show_progress_on": self.left["status"]}


def _wire_opening(parts: _Page, page: Any, saved: Any) -> None:
    """A visit begins, a clip is opened."""
    handlers, token, left, form = parts.handlers, parts.token, parts.left, parts.form

    def start(before: str) -> tuple[Any, ...]:
        mine, update, card = handlers.start(before)
        return mine, mine, *_parts(update), card, handlers.length(mine)

    def upload(mine: str, path: str | None, *fields: Any) -> tuple[Any, ...]:
        update, card = handlers.upload(mine, path, _whole_clip(fields))
        return *_parts(update), card, 0, handlers.length(mine)

    def sample(mine: str, *fields: Any) -> tuple[Any, ...]:
        update, card = handlers.sample(mine, _whole_clip(fields))
        return *_parts(update), card, 0, handlers.length(mine)

    def _whole_clip(fields: tuple[Any, ...]) -> Form:
        # Another clip has another length: from and to begin anew.
        return replace(Form(*fields), start=None, end=None)

    opened = [*parts.shown, left["card"]]
    part = [left["start"], left["end"]]
    page.load(start, [saved], [token, saved, *opened, left["end"]], api_name="start", show_progress="hidden")
    left["file"].upload(
        upload, [token, left["file"], *form], [*opened, *part], api_name="open", show_progress="hidden"
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

    left["run"].click(run, [token, *form], parts.shown, api_name="run", **parts.running)
    left["look"].click(look, [token, *form], parts.shown, api_name="quick_look", **parts.running)
    left["hand"].click(by_hand, [token, *form], parts.shown, api_name="by_hand", **parts.running)
    left["cancel"].click(
        handlers.cancel, [token], [left["status"]], api_name="cancel", show_progress="hidden", queue=False
    )


def _wire_form(parts: _Page) -> None:
    """A field of the form changes: what the others offer, and the card."""
    handlers, left = parts.handlers, parts.left

    def fields(mine: str, *values: Any) -> str:
        return handlers.card(mine, Form(*values))

    def preset(name: str) -> tuple[Any, ...]:
        return gr.Dropdown(info=PRESETS[name].about), PRESETS[name].min_score

    def classes(name: str, detector: str | None) -> Any:
        # What was chosen among another detector's names would be an error in this one's.
        return gr.Dropdown(choices=offered_classes(name, detector), value=[])

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    left["preset"].change(preset, [left["preset"]], [left["preset"], left["score"]], **quiet)
    gr.on(
        [left["preset"].change, left["detector"].change],
        classes,
        [left["preset"], left["detector"]],
        [left["classes"]],
        **quiet,
    )
    # One event for all: each its own, a slow answer to an earlier change could stand at the end.
    gr.on(
        [left[name].change for name in ("start", "end", "stride", "preset", "detector")],
        fields,
        [parts.token, *parts.form],
        [left["card"]],
        trigger_mode="always_last",
        **quiet,
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


def _wire_tabs(parts: _Page, compare: dict[str, Any], home: dict[str, Any]) -> None:
    """Comparing, measuring, downloading."""
    handlers, token = parts.handlers, parts.token

    def prepare(mine: str, wanted: list[str]) -> Iterator[tuple[Any, ...]]:
        for package in handlers.download(mine, wanted):
            files = [str(file) for file in package.files] or gr.skip()
            video = gr.skip() if package.overlay is None else str(package.overlay)
            yield package.text, files, video

    compare["button"].click(
        handlers.compare,
        [token, compare["zoom"], compare["beside"]],
        [compare["slider"], compare["numbers"]],
        api_name="compare",
        show_progress="minimal",
        **HEAVY,
    )
    compare["truth"].upload(
        handlers.measure, [token, compare["truth"]], [compare["ap"]], api_name="measure", **HEAVY
    )
    home["button"].click(
        prepare,
        [token, home["choices"]],
        [home["status"], home["files"], home["video"]],
        api_name="download",
        show_progress="minimal",
        show_progress_on=home["status"],
        **HEAVY,
    )
    home["tab"].select(
        handlers.commands, [token], [home["line"]], api_name="commands", show_progress="hidden"
    )


def _parts(update: Update) -> tuple[Any, ...]:
    """Viewer, timeline and status; what does not change is skipped."""
    return tuple(
        gr.skip() if part in (None, "") else part for part in (update.view, update.timeline, update.text)
    )


def _custom(name: str, value: dict[str, Any], **settings: Any) -> Any:
    """One of our own components: a fixed piece of HTML that its script fills from ``value``."""
    assets = resources.files("apps.demo") / "assets"
    return gr.HTML(
        value,
        html_template=(assets / f"{name}.html").read_text(encoding="utf-8"),
        js_on_load=(assets / f"{name}.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=f"vt-{name}",
        **settings,
    )


def launch_options(folder: Path) -> dict[str, Any]:
    """How the page is served whatever the address: closed, quiet, and nothing from outside."""
    from vis.video import WEB_LIMITS

    css = (resources.files("apps.demo") / "assets" / "page.css").read_text(encoding="utf-8")
    plain = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return {
        "share": False,
        "show_error": False,
        "max_file_size": WEB_LIMITS.bytes,
        "allowed_paths": [],
        "blocked_paths": [str(folder / "sessions"), str(folder / "secret")],
        "enable_monitoring": False,
        "strict_cors": True,
        "ssr_mode": False,
        "footer_links": [],
        "state_session_capacity": 500,
        "css": css,
        "theme": gr.themes.Default(
            primary_hue="blue", font=plain, font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"]
        ),
    }
