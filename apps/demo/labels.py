"""What the page says: sentences without paths, sizes, times, and names that can be shown. Knows no Gradio."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping

from apps.demo.estimating import Estimate
from vis.errors import VisError
from vis.structures import VideoInfo

__all__ = [
    "card",
    "clean_message",
    "clean_text",
    "display_name",
    "duration",
    "large_letter",
    "pace",
    "sentence",
    "slug",
]

# A path begins with a slash (or a drive); "frames/s" does not. Its folders may have spaces in their names.
_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?=\S)(?:[^\\/:'\"\n]+[\\/])+")
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s:'\"]+)+[\\/]?")
# "clip.mp4: ...": a message that begins with the name of a file.
_NAMED = re.compile(r".{0,100}?\.\w{1,5}: ")


def clean_message(error: BaseException, known: Mapping[str, str] | None = None) -> str:
    """An error for the visitor: what is wrong and what to do, and nothing of the server's folders.

    ``known`` is that of :func:`clean_text`.
    """
    if isinstance(error, VisError):
        return clean_text(str(error), known)
    return "Something went wrong on the server. It was logged there; try again, or reload the page."


def clean_text(text: str, known: Mapping[str, str] | None = None) -> str:
    """A sentence for the visitor: of every path only its last name is left.

    ``known``: what stands on the server -> what the visitor is told instead, put in first, in this order.
    """
    for server, told in (known or {}).items():
        text = text.replace(server, told)
    text = _FOLDERS.sub("", text)
    return _PATH.sub(lambda match: re.split(r"[\\/]", match.group().rstrip("\\/"))[-1], text)


def display_name(name: str) -> str:
    """A file name for showing: no folders, no control characters, at most 80 characters."""
    last = re.split(r"[\\/]", name)[-1]
    shown = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in last).strip()
    stem, dot, suffix = shown.rpartition(".")
    if len(shown) > 80:
        return f"{stem[:70]}…{dot}{suffix[-8:]}"
    return shown or "clip"


def slug(name: str) -> str:
    """A name that is safe as a file name anywhere."""
    stem = name.rsplit(".", 1)[0]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()[:40] or "clip"


def large_letter(text: str) -> str:
    """The text with its first letter large, unless it begins with the name of a file."""
    return text if _NAMED.match(text) else f"{text[:1].upper()}{text[1:]}"


def sentence(text: str) -> str:
    """A first letter large, a full stop at the end; names inside keep their letters."""
    return f"{large_letter(text)}."


def duration(seconds: float) -> str:
    """'8 s', '3 min 05 s', '1 h 20 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def pace(seconds: float) -> str:
    """What a frame takes: '2.5 frames/s', '1.8 s a frame'."""
    return f"{1 / seconds:.1f} frames/s" if 0 < seconds <= 1 / 0.95 else f"{seconds:.1f} s a frame"


def card(name: str, info: VideoInfo, *, frames: int | None, estimate: Estimate, note: str = "") -> str:
    """What the clip is, as HTML; ``frames`` are to be processed, which needs about ``estimate``, or a note."""
    facts = [f"{info.width} × {info.height}"]
    if info.fps is not None:
        facts.append(f"{info.fps:.5g} fps" + (" (variable)" if info.variable_frame_rate else ""))
    if info.duration_seconds is not None:
        facts.append(duration(info.duration_seconds))
    if info.num_frames is not None:
        facts.append(f"{info.num_frames} frames")
    facts.append(info.codec or "images")
    if info.rotation:
        facts.append(f"turned by {info.rotation}°")
    if info.hdr:
        facts.append("HDR, tone-mapped to standard colours")
    facts.append("with sound" if info.has_audio else "no sound")
    said = note if frames is None else _needs(frames, estimate)
    plan = f"<p class='vt-plan'>{html.escape(said)}</p>" if said else ""
    return (
        f"<div class='vt-card'><strong>{html.escape(name)}</strong>"
        f"<p>{' · '.join(html.escape(fact) for fact in facts)}</p>{plan}</div>"
    )


def _needs(frames: int, estimate: Estimate) -> str:
    """'To process: 132 frames, about 2 min 05 s here, in 0.9 GB of memory.'"""
    text = f"To process: {frames} frame{'s' * (frames != 1)}"
    if estimate.seconds is not None:
        text += f", {estimate.trust} {duration(estimate.seconds)} here"
    needed, free = estimate.memory_gb, estimate.free_gb
    if needed is not None:
        text += f", in {needed:.1f} GB of memory"
        if free is not None and free < needed:
            text += f", of which only {free:.1f} GB are free; choose a smaller preset"
    return text + "."
