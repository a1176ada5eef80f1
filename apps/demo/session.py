"""What the server keeps for one visitor: a folder with an unguessable name, and what is open in it.

::

    <root>/sessions/<token>/source.mp4     the clip
                            session.json   name, options, form and status: written when a run is done
                            base.json      the result as it was found (tubes.json)
                            edits.json     the corrections since
                            shelf/         processed frames as JPEG, for quick scrubbing

Everything finished is on the disk, so a restarted server opens the folder again where the visitor left
it. Knows no Gradio.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.demo.command import Form
from vis import edits, engines
from vis.errors import VisError
from vis.files import write_json
from vis.formats import tubes as tubes_format
from vis.structures import VideoInfo

if TYPE_CHECKING:
    from apps.demo.clip_frames import ClipFrames
    from vis.edits import FrameDecoder, History

__all__ = ["Session", "Sessions", "reopen"]

TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")


class Session:
    """One visitor's work. ``lock`` is held by whoever changes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.reader_lock = threading.Lock()
        """Held while the clip is opened; taken after ``lock``, never before it."""
        self.opening = threading.Lock()
        """Held while a clip comes in; taken before ``lock``, never after it."""
        self.cancel = threading.Event()
        self.running = False
        self.seen = time.time()
        self.form: Form | None = None
        """What stands in the form; None before the browser has told. Another clip keeps it."""
        self.clear()

    def clear(self) -> None:
        """Nothing is open."""
        if getattr(self, "reader", None) is not None:
            self.reader.close()  # type: ignore[union-attr]
        if getattr(self, "downloads", None) is not None:
            shutil.rmtree(self.downloads, ignore_errors=True)  # type: ignore[arg-type]
        self.downloads: Path | None = None
        """Folder of the files that were prepared last."""
        self.name = ""
        """Of the clip, as the visitor calls it; never a path, and escaped wherever it is shown."""
        self.video: Path | None = None
        self.info: VideoInfo | None = None
        self.status = ""
        """The last sentence about what is open; a reloaded page shows it again."""
        self.failed = False
        """Whether that sentence is an error."""
        self.options: dict[str, Any] = {}
        """What the run was asked: the words of the command line."""
        self.history: History | None = None
        self.model: str | None = None
        self.reader: ClipFrames | None = None
        self.decoder: FrameDecoder | None = None
        self.position = 0
        """Index into the result's frames of the one that is shown."""
        self.selected: int | None = None
        """Id of the object that corrections go to."""
        self.clicks: tuple[int, int, list[list[float]]] | None = None
        """(tube, frame, [[x, y, 1 or 0], ...]) of the correction that is going on."""
        self.row_cache: dict[int, Any] = {}

    @property
    def token(self) -> str:
        """The secret name."""
        return self.folder.name

    @property
    def spoken(self) -> dict[str, str]:
        """What no visitor is shown -> what is said instead: the clip bears the visitor's name for it."""
        folder = str(self.folder)
        names = {} if self.video is None else {str(self.video): self.name, self.video.name: self.name}
        return {**names, f"{folder}/": "", folder: "", self.token: ""}

    @property
    def by_hand(self) -> bool:
        """Whether the result is of a run that looked for nothing."""
        options = {} if self.history is None else self.history.base.made_with.get("options", {})
        return bool(options.get("detector") == "none")

    @property
    def shelf(self) -> Path:
        """Folder of the processed frames as JPEG."""
        return self.folder / "shelf"

    def save(self, *, fresh: bool = False) -> None:
        """Put what is finished on the disk; called after a run (``fresh``) and after every edit."""
        if self.history is None or self.video is None:
            return
        if fresh or not (self.folder / "base.json").exists():
            tubes_format.write(self.folder / "base.json", self.history.base)
        edits.write(self.folder / "edits.json", self.history.base, self.history.edits, model=self.model)
        self.save_note()

    def save_note(self) -> None:
        """Put what the page shows beside the result on the disk; nothing while there is no result."""
        if self.history is None or self.video is None:
            return
        note = {"name": self.name, "video": self.video.name, "model": self.model, "options": self.options}
        form = None if self.form is None else asdict(self.form)
        write_json(
            self.folder / "session.json", {**note, "form": form, "status": self.status, "failed": self.failed}
        )

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """While another run goes on, the old result is out of sight; it comes back unless there is a new one.

        On the disk it stays until the new one is saved.
        """
        names = ("history", "decoder", "clicks", "selected", "position", "row_cache")
        before = {name: getattr(self, name) for name in names}
        self._without_result()
        try:
            yield
        finally:
            if self.history is None:
                for name, value in before.items():
                    setattr(self, name, value)
            self._clear_shelf()

    def _without_result(self) -> None:
        self.history, self.decoder, self.clicks, self.selected = None, None, None, None
        self.position, self.row_cache = 0, {}

    def _clear_shelf(self) -> None:
        """Keep the frames of the result alone."""
        kept = set() if self.history is None else {f"{frame}.jpg" for frame in self.history.result.frames}
        for file in self.shelf.iterdir() if self.shelf.is_dir() else ():
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def forget_result(self) -> None:
        """Before another clip: the old result goes, from memory and disk."""
        self._without_result()
        for name in ("base.json", "edits.json", "session.json"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.shelf, ignore_errors=True)


class Sessions:
    """All visitors, by token. Folders that nobody has touched for ``keep_seconds`` are removed."""

    def __init__(self, root: Path, *, keep_seconds: float = 24 * 3600, most: int = 200) -> None:
        self.root = root / "sessions"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.keep_seconds = keep_seconds
        self.most = most
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def start(self, token: object = None) -> Session:
        """The visitor's session again, from memory or disk; a new one when the token is not ours."""
        self.clean()
        with self._lock:
            if isinstance(token, str) and TOKEN.fullmatch(token):
                if token in self._open:
                    return self._open[token]
                if (self.root / token).is_dir():
                    return self._open.setdefault(token, Session(self.root / token))
            fresh = Session(self.root / secrets.token_urlsafe(24))
            fresh.folder.mkdir(mode=0o700)
            self._open[fresh.token] = fresh
            return fresh

    def get(self, token: str) -> Session:
        """The session of a token that :meth:`start` gave; ``KeyError`` after it was cleaned away."""
        with self._lock:
            session = self._open[token]
        session.seen = time.time()
        return session

    def clean(self, now: float | None = None) -> None:
        """Remove what is old, and the oldest when there are too many; never what is running."""
        now = time.time() if now is None else now
        with self._lock:
            ages = []
            for folder in self.root.iterdir():
                session = self._open.get(folder.name)
                if session is None or not session.running:
                    seen = folder.stat().st_mtime if session is None else session.seen
                    ages.append((seen, folder))
            ages.sort()
            for place, (seen, folder) in enumerate(ages):
                if now - seen > self.keep_seconds or len(ages) - place > self.most:
                    session = self._open.pop(folder.name, None)
                    if session is not None:
                        session.cancel.set()
                        session.clear()
                    shutil.rmtree(folder, ignore_errors=True)


def reopen(session: Session, decoder_of: Callable[[Session], Any]) -> bool:
    """Open what the folder holds after a restart; False when there is nothing whole in it."""
    from apps.demo.clip_frames import inspect

    folder = session.folder
    try:
        note = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        base = tubes_format.read(folder / "base.json")
        file = edits.read(folder / "edits.json")
        file.check_base(base)
        video = folder / Path(note["video"]).name
        session.info = inspect(video)
        session.name, session.video = str(note["name"]), video
        session.model, session.options = _known_model(note["model"]), dict(note["options"])
        session.form, session.status = Form.read(note.get("form")), str(note.get("status", ""))
        session.failed = note.get("failed") is True
        session.history = edits.History(base)
        for edit in file.edits:
            _check_engine(edit)
            decode = decoder_of(session) if edits.needs_decode([edit]) else edits.NoDecoder()
            session.history.do(edit, decode=decode)
    except (OSError, ValueError, KeyError, VisError):
        session.clear()
        return False
    return True


def _known_model(name: object) -> str | None:
    """A model that lies ready here; a project from outside must name neither a file nor a download."""
    from vis import refiners

    if name is None:
        return None
    if not refiners.is_ready(str(name)):
        raise ValueError("the model is not installed here")
    return str(name)


def _check_engine(edit: edits.Edit) -> None:
    """Likewise for what a following was made with."""
    if isinstance(edit, edits.Follow) and edit.engine != engines.DEFAULT:
        _known_model(engines.model_of(edit.engine))
