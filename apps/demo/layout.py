"""What stands where on the page: its components, with the values that they begin with."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

import detectors
import trackers
from apps.demo.classes import offered_classes
from apps.demo.downloads import CHOICES, DEFAULT_CHOICES
from apps.demo.handlers import NO_CLIP, Handlers, status_html
from apps.demo.upload import SUFFIXES
from apps.plan import SPEEDS
from apps.presets import PRESETS
from vis import engines, weights

__all__ = ["compare_tab", "custom", "download_tab", "left_column"]

NO_COMPARISON = (
    "<p class='vt-muted'>The same boxes through two models, on the frame above. "
    "A model that does not lie here is fetched when it is first used.</p>"
)


def left_column(handlers: Handlers) -> dict[str, Any]:
    """The clip, the form of the run, its buttons and the status; components by name."""
    names = [name for name in detectors.names() if name != "precomputed"]
    found: dict[str, Any] = {}
    gr.HTML("<h2 class='vt-heading'>Open</h2>", apply_default_css=False)
    found["file"] = gr.File(
        label="Video or project",
        file_types=[*SUFFIXES, ".zip"],
        type="filepath",
        height=72,
        show_label=False,
        elem_id="vt-file",
    )
    with gr.Row(elem_classes="vt-buttons"):
        found["sample"] = gr.Button(handlers.offer, size="sm", elem_id="vt-sample", min_width=80)
        custom("webcam", {}, min_width=80)
    found["card"] = gr.HTML(NO_CLIP, apply_default_css=False, elem_id="vt-card")
    gr.HTML("<h2 class='vt-heading'>Find and track</h2>", apply_default_css=False)
    with gr.Row(elem_classes="vt-buttons"):
        found["run"] = gr.Button("Run", variant="primary", size="md", elem_id="vt-run", min_width=60)
        found["cancel"] = gr.Button("Cancel", size="md", elem_id="vt-cancel", min_width=60)
    with gr.Row(elem_classes="vt-buttons"):
        found["look"] = gr.Button("Quick look", size="sm", elem_id="vt-look", min_width=80)
        found["hand"] = gr.Button("By hand", size="sm", elem_id="vt-hand", min_width=80)
    found["status"] = gr.HTML(status_html("Loading the page …"), apply_default_css=False, elem_id="vt-status")
    found["preset"] = gr.Radio(
        handlers.preset_cards(), value="quick", label="Preset", elem_id="vt-preset", container=False
    )
    with gr.Row(elem_id="vt-part"):
        found["start"] = gr.Number(0, minimum=0, label="From (s)", min_width=60)
        found["end"] = gr.Number(0, minimum=0, label="To (s)", min_width=60)
        found["stride"] = gr.Number(1, minimum=1, precision=0, label="Every nth", min_width=60)
    with gr.Accordion("More options", open=False):
        found["detector"] = gr.Dropdown([("the preset's", ""), *names], value="", label="Detector")
        found["tracker"] = gr.Dropdown([("the preset's", ""), *trackers.names()], value="", label="Tracker")
        found["speed"] = gr.Dropdown(
            [
                ("the preset's", ""),
                ("full: networks look at every frame", "full"),
                *(
                    (f"{name}: at one in {SPEEDS[name].interval}, and where it is needed", name)
                    for name in ("balanced", "fastest")
                ),
            ],
            value="",
            label="Speed",
        )
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
        found["text"] = gr.Textbox(label="Text prompt", placeholder="person . red car", max_length=500)
        found["score"] = gr.Slider(
            0,
            1,
            value=PRESETS["quick"].min_score,
            step=0.05,
            label="Threshold",
            info="least detection score",
            elem_id="vt-score",
        )
    return found


def compare_tab() -> dict[str, Any]:
    """Two models on one frame, and a measurement; components by name."""
    with gr.Tab("Compare"):
        models: list[Any] = [*weights.MODELS, *weights.HUB_MODELS]
        with gr.Row(elem_id="vt-compared"):
            left = gr.Dropdown([("the right one's SAM", ""), *models], value="", label="Left model")
            right = gr.Dropdown([("the run's model", ""), *models], value="", label="Right model")
            with gr.Column(min_width=200):
                zoom = gr.Checkbox(True, label="Magnify where they differ most", container=False)
                button = gr.Button("Compare on this frame", size="sm", elem_id="vt-compare-button")
        numbers = gr.HTML(NO_COMPARISON, apply_default_css=False, elem_id="vt-numbers")
        slider = custom("compare", {})
        with gr.Accordion("Measure against a truth file", open=False):
            truth = gr.File(
                label="YTVIS annotations or tubes.json: gives tube AP and tube boundary AP",
                file_types=[".json"],
                height=110,
                elem_id="vt-truth",
            )
            ap = gr.HTML("", apply_default_css=False, elem_id="vt-ap")
    found = {"button": button, "zoom": zoom, "left": left, "right": right, "slider": slider}
    return {**found, "numbers": numbers, "truth": truth, "ap": ap}


def download_tab() -> dict[str, Any]:
    """Files to download, and the command; components by name."""
    with gr.Tab("Download") as tab:
        choices = gr.CheckboxGroup(
            [(label, name) for name, label in CHOICES.items()],
            value=list(DEFAULT_CHOICES),
            label="Files",
            elem_id="vt-choices",
        )
        button = gr.Button("Prepare files", variant="primary", size="sm", elem_id="vt-prepare")
        status = gr.HTML("", apply_default_css=False, elem_id="vt-download-status")
        files = custom("files", {})
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
        **{"files": files, "line": line},
    }


def custom(name: str, value: dict[str, Any], **settings: Any) -> Any:
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
