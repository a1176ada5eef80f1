"""The networks, loaded once for all visitors. Knows no visitor's data."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from apps.demo.clip_frames import ClipFrames
from apps.demo.estimating import Estimator, time_of_a_frame
from apps.demo.session import Session

if TYPE_CHECKING:
    from apps.job import Job
    from apps.plan import Plan
    from vis.follow import Engine
    from vis.interfaces import MaskPredictor

__all__ = ["ModelCache"]


class ModelCache:
    """Jobs by plan and predictors by model; a job is used by one run at a time.

    ``job_of`` and ``predictor_of`` may be replaced: the tests put quick stand-ins there.
    """

    def __init__(self, *, device: str = "auto", most_jobs: int = 3) -> None:
        self.device = device
        self.most_jobs = most_jobs
        self.estimator = Estimator()
        self._jobs: dict[Plan, Job] = {}
        self._predictors: dict[str, MaskPredictor] = {}
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def job_of(self, plan: Plan) -> Any:
        """A job for the plan; the last few stay loaded."""
        with self._lock:
            return self._kept_job(plan)

    def _kept_job(self, plan: Plan) -> Any:
        from apps.job import Job

        job = self._jobs.pop(plan, None)
        if job is None:
            job = Job(plan, device=self.device)
            if job.refiner is not None and plan.model is not None and plan.precision == "fast":
                # Corrections use the run's own network, so it is loaded once, where it computes as theirs does:
                # 'vistubes edit' plays them to the same bytes, whatever the run was made with.
                self._predictors[plan.model] = job.refiner.predictor
        self._jobs[plan] = job
        while len(self._jobs) > self.most_jobs:
            self._jobs.pop(next(iter(self._jobs)))
        return job

    def predictor_of(self, model: str) -> Any:
        """A predictor for corrections and comparisons."""
        from vis import refiners

        with self._lock:
            if model not in self._predictors:
                self._predictors[model] = refiners.create(model, device=self.device)
            return self._predictors[model]

    def engine_of(self, name: str) -> Engine:
        """An engine for followings, with its own model; loaded once."""
        from vis import engines

        with self._lock:
            if name not in self._engines:
                self._engines[name] = engines.create(name, device=self.device)
            return self._engines[name]

    def decoder_of(self, session: Session) -> Any:
        """The decoder of a session's clip, with its embeddings."""
        from vis.edits import FrameDecoder

        if session.decoder is None:
            assert session.model is not None
            predictor = self.predictor_of(session.model)
            session.decoder = FrameDecoder(
                predictor, lambda index: reader_of(session)[index].image, engine_of=self.engine_of
            )
        return session.decoder

    def warm(self, plan: Plan) -> None:
        """Load a plan's networks ahead of the first visitor, and time a frame for the first estimate."""
        with self._lock:  # a visitor's run waits for the job: two at once would mix its state
            self.estimator.note_frame(plan, time_of_a_frame(self._kept_job(plan)))


def reader_of(session: Session) -> Any:
    """Random access to the session's clip; opened once."""
    with session.reader_lock:
        if session.reader is None:
            assert session.video is not None
            assert session.info is not None
            session.reader = ClipFrames(session.video, session.info)
        return session.reader
