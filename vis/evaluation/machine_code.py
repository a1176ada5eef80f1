"""Machine code as a plain image that the system maps into memory, without a compiler library.

Loading compiled kernels through llvmlite costs more time and memory than many an evaluation needs.
:func:`flatten` does once what a linker does: it lays the sections of an object file one behind the
other and settles every reference between them. Only for Linux on x86-64; elsewhere, or where something
in the object is not understood, it declines, and the object is loaded through llvmlite.

::

    stored   | sha256 | names and offsets, to byte 4096 | code | constants |
                                                        └── mapped as it is, never writable
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import sys
from pathlib import Path

import numpy as np

__all__ = ["flatten", "map_image", "processor"]

PAGE = 4096
DIGEST = 32
"""Bytes of the sha256 that a stored image begins with."""
ALLOCATED = 2
"""Section flag: needed in memory."""
WRITABLE = 1
SYMBOLS, RELOCATIONS, NO_BITS = 2, 4, 8
"""Section types."""
RELATIVE_32 = (2, 4)
"""R_X86_64_PC32, R_X86_64_PLT32: a 32-bit distance."""
RELATIVE_64 = (24,)
"""R_X86_64_PC64."""


def processor() -> bytes | None:
    """What this processor is and can do, as the system says it; None where images are not used."""
    if sys.platform != "linux" or os.uname().machine != "x86_64" or sys.maxsize < 2**32:
        return None
    with contextlib.suppress(OSError):
        return Path("/sys/devices/system/cpu/modalias").read_bytes()  # vendor, family, model, features
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        lines = file.read(2 * PAGE).split(b"\n\n")[0].splitlines()
        about = [line for line in lines if line.startswith((b"vendor_id", b"cpu family", b"model", b"flags"))]
        return b"\n".join(about) or None
    return None


def flatten(code: bytes, names: list[str]) -> bytes | None:
    """The image of a position-independent ELF object with the functions ``names``, or None."""
    if code[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", code, 16) != (1, 62):
        return None
    sections = _sections(code)
    places, body = {}, bytearray()
    for index, (kind, flags, at, size, _, _, align) in enumerate(sections):
        if not flags & ALLOCATED or not size:
            continue
        if flags & WRITABLE or kind == NO_BITS:
            return None
        body += bytes(-len(body) % max(align, 1))
        places[index] = len(body)
        body += code[at : at + size]
    symbols = _symbols(code, sections)
    for kind, _, at, size, _, target, _ in sections:
        if kind != RELOCATIONS or target not in places:
            continue
        for offset, info, addend in struct.iter_unpack("<QQq", code[at : at + size]):
            _, home, value = symbols[info >> 32]
            if home not in places:
                return None
            where = places[target] + offset
            distance = places[home] + value + addend - where
            if info & 0xFFFFFFFF in RELATIVE_32 and -(2**31) <= distance < 2**31:
                struct.pack_into("<i", body, where, distance)
            elif info & 0xFFFFFFFF in RELATIVE_64:
                struct.pack_into("<q", body, where, distance)
            else:
                return None
    offsets = {
        name: places[home] + value for name, home, value in symbols if name in names and home in places
    }
    head = json.dumps(offsets).encode("ascii")
    if set(offsets) != set(names) or len(head) > PAGE - DIGEST:
        return None
    return head.ljust(PAGE - DIGEST) + bytes(body)


def _sections(code: bytes) -> list[tuple[int, int, int, int, int, int, int]]:
    """Type, flags, offset, size, link, info and alignment of each section."""
    (table,) = struct.unpack_from("<Q", code, 40)
    step, count = struct.unpack_from("<HH", code, 58)
    out = []
    for index in range(count):
        _, kind, flags, _, at, size, link, info, align, _ = struct.unpack_from(
            "<IIQQQQIIQQ", code, table + index * step
        )
        out.append((kind, flags, at, size, link, info, align))
    return out


def _symbols(
    code: bytes, sections: list[tuple[int, int, int, int, int, int, int]]
) -> list[tuple[str, int, int]]:
    """Name, section and value of each symbol."""
    out = []
    for kind, _, at, size, link, _, _ in sections:
        if kind == SYMBOLS:
            names = sections[link][2]
            for name, _, _, home, value, _ in struct.iter_unpack("<IBBHQQ", code[at : at + size]):
                start = names + name
                out.append((code[start : code.index(b"\0", start)].decode(), home, value))
    return out


def map_image(path: Path) -> tuple[dict[str, int], mmap.mmap]:
    """Addresses of the functions of a stored image, and what keeps them there.

    Raises OSError or ValueError where there is none, where it is not whole, or where the system does not
    map files as code.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    if len(mapped) <= PAGE or hashlib.sha256(mapped[DIGEST:]).digest() != mapped[:DIGEST]:
        raise ValueError(f"{path}: not a whole image")
    start = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0] + PAGE
    offsets = json.loads(mapped[DIGEST:PAGE])
    return {name.removeprefix("vistubes_"): start + offset for name, offset in offsets.items()}, mapped
