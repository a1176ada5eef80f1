"""The page's handlers: tokens and form values in, payloads out. Knows no Gradio, so it is tested without.

Every handler answers, whatever happens: an error becomes a sentence at the place where the visitor looks.
What is not ours is logged here and shown as "something went wrong", never as a trace or a path.
"""

from __future__ import annotations

import html
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from apps.demo import comparing, downloads, editing, evaluation, running, upload, views
from apps.demo.command import Form
from apps.demo.labels import clean_message, display_name, large_letter
from apps.demo.model_cache import ModelCache
from apps.demo.preset_cards import preset_cards
from apps.demo.project import commands, open_project
from apps.demo.running import Update
from apps.demo.session import Session, Sessions, reopen
from apps.presets import PRESETS
from vis import engines
from vis.errors import UsageError, VisError

__all__ = ["NO_CLIP", "Handlers", "status_html"]

logger = logging.getLogger("vistubes.page")

GONE = "This page was idle for so long that its files were removed. Reload it to begin again."
QUICK_LOOK_FRAMES = 8
QUICK_LOOK_SECONDS = 5.0


@dataclass(slots=True)
class Handlers:
    """All visitors' handlers over one set of networks."""

    sessions: Sessions
    model_cache: ModelCache
    cache: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="vistubes-cache-")))
    offered: Path | None = None
    """A clip of the server's owner that visitors may open; None offers the sample clip."""
    max_frames: int = 3000

    @property
    def offer(self) -> str:
        """What stands on the button that opens a clip of the server."""
        return f"Use {'the sample clip' if self.offered is None else display_name(self.offered.name)}"

    def preset_cards(self) -> list[tuple[str, str]]:
        """(text, name) of every preset, with its speed as far as it is known by now."""
        return preset_cards(self.model_cache.estimator)

    def start(self, token: object) -> tuple[str, Update, str]:
        """A visitor comes, or comes back: their token, what they see, and their clip's card."""
        session = self.sessions.start(token)
        text, error = session.status or "Open a video to begin.", session.failed
        if session.video is None and (session.folder / "session.json").exists():
            with session.lock:
                if reopen(session, self.model_cache.decoder_of):
                    text, error = f"Your work from before is open again. {session.status}", session.failed
        if session.running:
            error = False
            text = "A run of yours is still going on; its result appears here when you reload after it."
        elif session.history is not None and session.selected is None:
            session.selected = next((tube.id for tube in session.history.result.tubes), None)
        update = Update(views.view(session), views.timeline(session), status_html(text, error=error))
        return session.token, update, self.card(session.token, session.form or Form())

    def form(self, token: str) -> Form | None:
        """What stood in the form when the visitor was here last; None for a new one."""
        try:
            return self.sessions.get(token).form
        except KeyError:
            return None

    def card(self, token: str, form: Form) -> str:
        """What the clip is, how much of it is wanted, and how long that takes."""
        try:
            session = self.sessions.get(token)
            form = _meant(session, form)
            span = upload.span_of(session, form.start, form.end, form.stride)
            shown = upload.describe(session, self.model_cache, form.words(), span)
            return shown or NO_CLIP
        except Exception as error:
            return f"<div class='vt-card'><p>{html.escape(self._say(error, token))}</p></div>"

    def form_changed(self, token: str, form: Form) -> tuple[str, Form | None]:
        """The visitor has put something into the form, which is kept for a reload: its card, and the form that follows.

        None: it stays as it is. Another preset brings its threshold. Of another preset's or detector's classes none is
        chosen: what was chosen among the former names would be an error.
        """
        try:
            session = self.sessions.get(token)
        except KeyError:  # the card says so
            return self.card(token, form), None
        before, follows = session.form or Form(), None
        if (form.preset, form.detector or "") != (before.preset, before.detector or ""):
            another = PRESETS.get(form.preset) if form.preset != before.preset else None
            form = follows = replace(form, classes=[], score=another.min_score if another else form.score)
        _keep_form(session, form)
        return self.card(token, form), follows

    def length(self, token: str) -> float:
        """Seconds of the clip that is open, for the form; 0 when none is, or when they are not known."""
        try:
            info = self.sessions.get(token).info
        except KeyError:
            return 0.0
        return math.ceil(100 * (info.duration_seconds or 0.0)) / 100 if info is not None else 0.0

    def upload(self, token: str, path: str | None, form: Form) -> tuple[Update, str]:
        """A file that the browser sent: a clip, or a project."""
        if path is None:
            return Update(text=status_html("Open a video to begin.")), NO_CLIP
        return self._open(token, form, lambda session: self._take(session, Path(path)))

    def sample(self, token: str, form: Form) -> tuple[Update, str]:
        """The sample clip, or the clip that the server's owner offers."""

        def take(session: Session) -> None:
            from vis import weights

            if self.offered is not None:
                upload.open_clip(session, self.offered, self.offered.name)
            else:
                file = weights.path("sample")
                upload.open_clip(session, file, file.name, source="sample")

        return self._open(token, form, take)

    def run(self, token: str, form: Form, *, quick_look: bool = False) -> Iterator[Update]:
        """Find, track and refine; the quick look takes a few frames of five seconds."""
        try:
            session = self.sessions.get(token)
            with session.opening:  # the form is about the clip that is coming in
                form = _meant(session, form)
            if quick_look:
                form = self._quick_look(session, form)
            upload.check_part(session, upload.span_of(session, form.start, form.end, form.stride))
            updates = running.run(
                session, self.model_cache, form.words(), max_frames=self.max_frames, offer=self.offer
            )
            for update in updates:
                yield Update(update.view, update.timeline, _status(session, update.text, update.share))
        except Exception as error:
            # The tools say again what can be done; a run of another tab of this visitor goes on.
            yield replace(self._seen(token), text=self._error_status(token, error))

    def cancel(self, token: str) -> str:
        """Ask what runs to stop after the frame in hand."""
        try:
            session = self.sessions.get(token)
        except KeyError:
            return status_html(GONE, error=True)
        if not session.running:
            return status_html("Nothing is running.")
        session.cancel.set()
        return status_html(running.STOPPING, 1.0)

    def seek(self, token: str, data: object) -> Update:
        """Another frame, or another object. The answer bears the id of the request, if it has one."""
        update = self._on_picture(token, lambda session: editing.seek(session, _mapping(data)))
        request_id = data.get("request_id") if isinstance(data, Mapping) else None
        if update.view is not None and isinstance(request_id, int):
            update = replace(update, view={**update.view, "request_id": request_id})
        return update

    def act(self, token: str, data: object) -> Update:
        """One edit."""
        return self._on_picture(token, lambda session: editing.act(session, self.model_cache, _mapping(data)))

    def follow(self, token: str, data: object = None, engine: str = engines.DEFAULT) -> Iterator[Update]:
        """Carry the selected object's mask on, by an engine of ``vis.engines``."""
        try:
            session = self.sessions.get(token)
            editing.go_where_it_was_seen(session, data if isinstance(data, Mapping) else {})
            for update in editing.follow(session, self.model_cache, engine):
                seen = update.view if update.view is None else {**update.view, "message": update.text}
                yield Update(seen, update.timeline, _status(session, update.text, update.share))
        except Exception as error:
            yield self._failed(token, error)

    def compare(self, token: str, zoom: bool, left: str = "", right: str = "") -> tuple[dict[str, Any], str]:
        """Both pictures with their models' names, or none, and numbers or what is missing.

        ``left`` and ``right``: as of :func:`comparing.compare`, empty for None.
        """
        try:
            session = self.sessions.get(token)
            found = comparing.compare(
                session, self.model_cache, zoom=zoom, left=left or None, right=right or None
            )
            shown = {"sam": views.data_url(found.sam), "hq": views.data_url(found.hq)}
            return {**shown, "names": list(found.names)}, found.text
        except Exception as error:
            return {}, self._error_html(error, token)

    def measure(self, token: str, path: str | None) -> str:
        """Tube AP and boundary AP against a truth file."""
        if path is None:
            return ""
        try:
            return evaluation.measure(self.sessions.get(token), Path(path))
        except Exception as error:
            return self._error_html(error, token)

    def download(self, token: str, wanted: list[str]) -> Iterator[downloads.Package]:
        """The chosen files."""
        try:
            for package in downloads.prepare(self.sessions.get(token), self.model_cache, wanted, self.cache):
                yield downloads.Package(
                    status_html(package.text, package.share), package.share, package.files, package.overlay
                )
        except Exception as error:
            yield downloads.Package(status_html(self._say(error, token), error=True))

    def commands(self, token: str) -> str:
        """The lines that repeat this visitor's work."""
        try:
            return commands(self.sessions.get(token)) or "Run something first; its command appears here."
        except Exception as error:
            return self._say(error, token)

    def _take(self, session: Session, path: Path) -> None:
        if path.suffix.lower() == ".zip":
            open_project(session, self.model_cache, path)
        else:
            upload.open_clip(session, path, path.name)

    def _open(self, token: str, form: Form, take: Callable[[Session], None]) -> tuple[Update, str]:
        try:
            session = self.sessions.get(token)
            with session.opening:
                if session.running:
                    raise UsageError("a run is going on; cancel it before another clip is opened")
                take(session)
        except Exception as error:
            return Update(text=self._error_status(token, error)), self.card(token, form)
        text = f"Opened {session.name}. Press Run, or Quick look for a first impression."
        if session.history is not None:
            text = f"Opened the project of {session.name}."
        _keep_form(session, form)
        update = Update(views.view(session), views.timeline(session), _status(session, text))
        return update, self.card(token, form)

    def _quick_look(self, session: Session, form: Form) -> Form:
        start, fps = form.start or 0.0, (session.info.fps if session.info else None) or 25.0
        end = start + QUICK_LOOK_SECONDS
        length = session.info.duration_seconds if session.info else None
        span = min(end, length or end) - start
        # Frames so far apart have little motion in common: each is looked at.
        return replace(form, end=end, stride=max(1, round(span * fps / QUICK_LOOK_FRAMES)), speed="full")

    def _on_picture(self, token: str, do: Callable[[Session], Update]) -> Update:
        """What happens on the picture answers below it."""
        try:
            session = self.sessions.get(token)
            update = do(session)
            seen = update.view if update.view is None else {**update.view, "message": update.text}
            return Update(seen, update.timeline)
        except Exception as error:
            return self._failed(token, error)

    def _failed(self, token: str, error: Exception) -> Update:
        text = self._say(error, token)
        try:
            return Update(views.view(self.sessions.get(token), text))
        except Exception:
            return Update(views.empty_view(text), text=status_html(text, error=True))

    def _seen(self, token: str) -> Update:
        """What is open, as it is: the result from before, where another run has failed."""
        try:
            session = self.sessions.get(token)
            return Update() if session.running else Update(views.view(session), views.timeline(session))
        except Exception:
            return Update()

    def _error_status(self, token: str, error: Exception) -> str:
        """An error as the status, kept for a reload."""
        text = self._say(error, token)
        try:
            _keep_status(self.sessions.get(token), text, failed=True)
        except KeyError:  # no visit, so no reload of it
            pass
        except Exception as lost:
            logger.warning("an error was not kept for a reload", exc_info=lost)
        return status_html(text, error=True)

    def _error_html(self, error: Exception, token: str) -> str:
        return f"<p class='vt-error' role='alert'>{html.escape(display_text(self._say(error, token)))}</p>"

    def _say(self, error: Exception, token: object = None) -> str:
        """An error as a sentence for the visitor of that token: their clip under their own name, no paths."""
        if isinstance(error, KeyError) and error.args == ("",):
            return "The page is still loading; try again in a moment."
        if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
            return GONE
        if not isinstance(error, VisError):
            logger.error("a handler of the page failed", exc_info=error)
        try:
            known = self.sessions.get(token).spoken if isinstance(token, str) else {}
        except KeyError:
            known = {}
        return large_letter(clean_message(error, known))


NO_CLIP = (
    "<div class='vt-card'><p class='vt-muted'>"
    "Nothing is open. MP4, MOV, MKV, WebM or AVI; or a project zip.</p></div>"
)


def status_html(text: str, share: float | None = None, *, error: bool = False) -> str:
    """A line of text and, while something runs, a bar."""
    bar = ""
    if share is not None:
        bar = f"<progress max='1' value='{min(1.0, share):.3f}' aria-label='progress'></progress>"
    kind = " class='vt-error' role='alert'" if error else ""
    line = f"<p{kind}>{html.escape(display_text(text))}</p>"
    return f"<div class='vt-status' role='status' aria-live='polite'>{line}{bar}</div>"


def _status(session: Session, text: str, share: float | None = None) -> str:
    """As :func:`status_html`; a sentence that ends something is kept for a reload."""
    if text and share is None:
        _keep_status(session, text, failed=False)
    return status_html(text, share)


def _keep_status(session: Session, text: str, *, failed: bool) -> None:
    session.status, session.failed = text, failed
    session.save_note()


def display_text(text: str) -> str:
    """No line breaks, not endless. Letters stay as they are: the first word may be a file's name."""
    return " ".join(text.split())[:600]


def _keep_form(session: Session, form: Form) -> None:
    """For a reload; one that could not be shown then is passed over."""
    known = Form.read({**asdict(form), "classes": list(form.classes or ())})
    if known is not None and known != session.form:
        session.form = known
        try:
            session.save_note()
        except Exception as error:
            logger.warning("the form of a visit was not kept", exc_info=error)


def _meant(session: Session, form: Form) -> Form:
    """An end that is the clip's own is no end: the words of the run stay short, and its last frame is in it."""
    length = session.info.duration_seconds if session.info is not None else None
    return replace(form, end=None) if form.end and length is not None and form.end >= length else form


def _mapping(data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise UsageError("the page sent something unexpected; reload it")
    return data
