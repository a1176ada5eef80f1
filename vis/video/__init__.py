"""Video in and out: probing, reading (files, image folders, single frames) and writing.

Knows frames and times; knows no object, no tube and no network.
"""

from vis.video.alpha_writer import AlphaVideoWriter, ProResWriter, read_alpha
from vis.video.folder import FolderReader
from vis.video.isolated import IsolatedReader
from vis.video.options import DEFAULT_LIMITS, WEB_LIMITS, VideoLimits
from vis.video.random_access import RandomAccessReader
from vis.video.reader import VideoReader
from vis.video.source import open_source, probe
from vis.video.writer import VideoWriter

__all__ = [
    "DEFAULT_LIMITS",
    "WEB_LIMITS",
    "AlphaVideoWriter",
    "FolderReader",
    "IsolatedReader",
    "ProResWriter",
    "RandomAccessReader",
    "VideoLimits",
    "VideoReader",
    "VideoWriter",
    "open_source",
    "probe",
    "read_alpha",
]
