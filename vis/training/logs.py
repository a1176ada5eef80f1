"""Numbers over steps in TensorBoard's event format, without TensorBoard. Knows no training.

A file is a row of records: length, its checksum, bytes, their checksum (TFRecord). The bytes are Event
messages of protocol buffers; only the fields of a scalar are written: wall_time (1, double), step (2,
varint), file_version (3, string), summary (5) with value (1): tag (1, string), simple_value (2, float).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

__all__ = ["EventLog"]


class EventLog:
    """Writes scalars that ``tensorboard --logdir`` shows. Use as a context manager."""

    def __init__(self, folder: str | Path) -> None:
        """Start a new event file in ``folder``; older ones stay and are shown together with it."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        now = time.time()
        # Nanoseconds keep two runs of one second apart.
        self.path = Path(folder) / f"events.out.tfevents.{int(now)}.{time.monotonic_ns()}"
        self._file = self.path.open("wb")
        self._write(_double(1, now) + _text(3, b"brain.Event:2"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one step's values by tag, and flush them to the file."""
        values = b"".join(
            _text(1, _text(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
            for tag, value in scalars.items()
        )
        self._write(_double(1, time.time()) + b"\x10" + _varint(step) + _text(5, values))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, message: bytes) -> None:
        length = struct.pack("<Q", len(message))
        self._file.write(length + _masked_crc(length) + message + _masked_crc(message))
        self._file.flush()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _text(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def _masked_crc(content: bytes) -> bytes:
    """CRC-32C (Castagnoli), rotated and offset as TFRecord asks."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
