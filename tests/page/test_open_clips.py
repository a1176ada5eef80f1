"""How many decoding processes wait for the next frame: few, and none for long."""

from __future__ import annotations

import threading

import numpy as np

from apps.demo.clip_frames import ClipFrames, OpenClips, inspect


class Clip:
    """Counts how often it was put to rest."""

    def __init__(self) -> None:
        self.rests = 0
        self.rested = threading.Event()

    def rest(self) -> None:
        self.rests += 1
        self.rested.set()


def test_the_clip_used_longest_ago_goes_first():
    opened = OpenClips(most=3)
    clips = [Clip() for _ in range(5)]
    for clip in clips[:3]:
        opened.note(clip)
    opened.note(clips[0])
    for clip in clips[3:]:
        opened.note(clip)
    assert [clip.rests for clip in clips] == [0, 1, 1, 0, 0]
    for clip in clips:
        opened.forget(clip)


def test_a_clip_that_nobody_asks_for_is_put_to_rest():
    opened = OpenClips(idle_seconds=0.05)
    for _ in range(2):  # the thread that watches ends, and begins again
        clips = [Clip(), Clip()]
        for clip in clips:
            opened.note(clip)
        assert all(clip.rested.wait(30) for clip in clips)


def test_a_clip_that_rests_wakes_with_the_same_frames(clip):
    opened = OpenClips(most=1)
    first, second = (ClipFrames(clip, inspect(clip), among=opened) for _ in range(2))
    before = first[5].image
    assert first._frames is not None
    second[0]
    assert first._frames is None
    assert not first._kept
    assert np.array_equal(first[5].image, before)
    assert second._frames is None
    with first._lock:  # as while a frame of it is read
        second[1]
    assert first._frames is not None
    first.close()
    second.close()
    assert not opened._used


def test_visitors_share_a_few_processes(handlers, clip):
    from apps.demo import clip_frames
    from apps.demo.command import Form

    for _ in range(6):
        token, _, _ = handlers.start(None)
        handlers.upload(token, str(clip), Form())
    assert len(clip_frames._open_clips._used) <= clip_frames._open_clips.most
    waiting = [
        session.reader for session in handlers.sessions._open.values() if session.reader._frames is not None
    ]
    assert 0 < len(waiting) <= clip_frames._open_clips.most
    for session in handlers.sessions._open.values():
        session.clear()
