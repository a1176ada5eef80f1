"""Whether a video is encrypted, which FFmpeg reads as if it were damaged, or as pictures of noise. Knows no key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vis.errors import VideoError

__all__ = ["refuse_encrypted", "refuse_encrypted_packet"]

_LOOK_BYTES = 2**20
_TS_BYTES, _TS_SYNC, _TS_SCRAMBLED = 188, 0x47, 0xC0
# Content Encryption and Extended Content Encryption of Windows Media (ASF specification, 3.14 and 3.15).
_ASF = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
_ASF_ENCRYPTION = (
    bytes.fromhex("FBB3112223BDD211B4B700A0C955FC6E"),
    bytes.fromhex("14E68A292226174CB935DAE07EE9289C"),
)


def refuse_encrypted(path: Path) -> None:
    """Raise :class:`VideoError` for a transport stream or a Windows Media file that says that it needs a key."""
    with path.open("rb") as file:
        head = file.read(_LOOK_BYTES)
    if head.startswith(_ASF) and any(mark in head for mark in _ASF_ENCRYPTION):
        raise _error(path)
    # Packets of a transport stream say each that they are scrambled (ISO/IEC 13818-1, 2.4.3.2).
    starts = range(0, len(head) - _TS_BYTES + 1, _TS_BYTES)
    is_stream = len(starts) > 2 and all(head[at] == _TS_SYNC for at in starts)
    if is_stream and 10 * sum(bool(head[at + 3] & _TS_SCRAMBLED) for at in starts) > len(starts):
        raise _error(path)


def refuse_encrypted_packet(path: Path, stream: Any, packet: Any) -> None:
    """Likewise where the first ``packet`` of a stream of MP4 (Common Encryption) or Matroska tells it."""
    # PyAV tells it from version 16 on.
    has = getattr(packet, "has_sidedata", None)
    if "enc_key_id" in stream.metadata or (has is not None and has("encryption_info")):
        raise _error(path)


def _error(path: Path) -> VideoError:
    return VideoError(
        f"{path}: the video is encrypted (protected by DRM), so its pictures cannot be read; give a copy without "
        "protection"
    )
