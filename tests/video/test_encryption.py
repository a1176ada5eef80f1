"""A video that needs a key is told as one, not as damage."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import VideoError
from vis.video import open_source
from vis.video.encryption import refuse_encrypted

KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def write(path: Path, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * k, np.uint8))))
        container.mux(stream.encode())
    return path


def test_common_encryption_of_mp4(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"clip\.mp4: the video is encrypted \(protected by DRM\)"):
        open_source(write(tmp_path / "clip.mp4", **KEY))
    assert len(list(open_source(write(tmp_path / "open.mp4")))) == 4


def test_a_scrambled_transport_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.ts")
    with av.open(str(path)) as container:
        number = container.streams.video[0].id
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == number:
            data[at + 3] |= 0x80
            data[at + 4 : at + 188] = bytes(byte ^ 0x5A for byte in data[at + 4 : at + 188])
    path.write_bytes(data)
    with pytest.raises(VideoError, match="encrypted"):
        open_source(path)


def test_windows_media_says_so_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "clip.wmv"
    header = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
    path.write_bytes(header + bytes(50) + bytes.fromhex("FBB3112223BDD211B4B700A0C955FC6E") + bytes(50))
    with pytest.raises(VideoError, match="encrypted"):
        refuse_encrypted(path)
    path.write_bytes(header + bytes(500))
    refuse_encrypted(path)
