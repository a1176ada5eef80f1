"""Run-length kernels as machine code, compiled by numba once per machine and kept.

Importing numba takes longer than evaluating a whole data set, and its own cache needs that import.
So the object code is stored in the user's cache folder and loaded through llvmlite alone, in about
40 ms. The first run on a machine compiles for some seconds. Without a writable folder every process
compiles anew; without numba :mod:`vis.evaluation.plain` takes over.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import OutputError
from vis.evaluation.runs import LIST_MARK, TEXT_MARK, BadMaskError, Lifted, Text, TubeMasks
from vis.files import whole_file

__all__ = ["erode", "from_runs", "from_text", "functions", "lift", "match", "overlap"]

# Arguments per kernel, without the two that numba's calling convention puts in front.
_ARGUMENTS = {"lift": 8, "decode": 9, "measure": 9, "overlap": 7, "erode": 18, "match": 11}
_loaded: dict[str, Callable[..., int]] = {}
_keep_alive: list[Any] = []
_lock = threading.Lock()


def functions() -> dict[str, Callable[..., int]]:
    """The kernels by name, compiled or loaded on the first call of the process."""
    if not _loaded:
        with _lock:
            if not _loaded:
                _loaded.update(_load())
    return _loaded


def _load() -> dict[str, Callable[..., int]]:
    import llvmlite.binding as llvm  # type: ignore[import-untyped]

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )
    path = _cache_path(llvm)
    code = _read(path)
    if code is None:
        code = _compile(llvm, machine)
        _write(path, code)
    linker = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    linker.add_object_file(llvm.ObjectFileRef.from_data(code))
    linker.finalize_object()
    _keep_alive.append(linker)
    return {name: _callable(linker.get_function_address(f"vistubes_{name}"), name) for name in _ARGUMENTS}


def _cache_path(llvm: Any) -> Path:
    import llvmlite
    import platformdirs

    parts = [
        Path(__file__).with_name("kernels.py").read_bytes(),
        Path(__file__).read_bytes(),
        _numba_version(),
        llvmlite.__version__.encode(),
        np.__version__.encode(),
        llvm.get_process_triple().encode(),
        llvm.get_host_cpu_name().encode(),
        llvm.get_host_cpu_features().flatten().encode(),
    ]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    return Path(platformdirs.user_cache_dir("vis-tubes")) / "kernels" / f"{key}.o"


def _numba_version() -> bytes:
    """What numba's own version file says; importing numba, or asking the package's metadata, is slow."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.origin is None:
        raise ImportError("numba is not installed")
    return Path(spec.origin).with_name("_version.py").read_bytes()


def _read(path: Path) -> bytes | None:
    """The stored code, if it is there and whole: 32 bytes of sha256, then the object file."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, code = stored[:32], stored[32:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    try:
        with whole_file(path) as part:
            part.write_bytes(hashlib.sha256(code).digest() + code)
    except OutputError:
        pass  # a read-only home costs compiling again, nothing else


def _compile(llvm: Any, machine: Any) -> bytes:
    from numba import njit, types

    from vis.evaluation.kernels import KERNELS

    whole = llvm.parse_assembly("")
    for name, (function, arguments) in KERNELS.items():
        signature = types.int64(*arguments)
        compiled: Any = njit(  # type: ignore[call-overload]
            signature, error_model="numpy", boundscheck=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
        )(function)
        result = compiled.overloads[tuple(arguments)]
        text = result.library.get_llvm_str().replace(result.fndesc.llvm_func_name, f"vistubes_{name}")
        whole.link_in(llvm.parse_assembly(text))
    # What cannot be resolved at load would end the process there.
    foreign = [f.name for f in whole.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if foreign:
        raise RuntimeError(f"compiled kernels need {foreign}")
    code: bytes = machine.emit_object(whole)
    return code


def _callable(address: int, name: str) -> Callable[..., int]:
    """A Python function that passes arrays as addresses and ints as int64, without the lock held."""
    if not address:
        raise RuntimeError(f"compiled kernels lack {name}")
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *([ctypes.c_void_p] * (2 + _ARGUMENTS[name])))
    function = prototype(address)

    def call(*arguments: Any) -> int:
        result = ctypes.c_int64()
        function(
            ctypes.addressof(result),
            None,
            *[a.__array_interface__["data"][0] if isinstance(a, np.ndarray) else a for a in arguments],
        )
        return result.value

    return call


# ---------------------------------------------------------------- the Engine


def lift(text: bytes) -> Lifted | None:
    """See :class:`vis.evaluation.runs.Engine`."""
    size = len(text)
    out, chars = np.empty(2 * size + 64, np.uint8), np.empty(size, np.uint8)
    lengths = np.empty(size // 2 + 1, np.int64)
    list_ends, text_ends = (np.empty(size // 11 + 2, np.int64) for _ in range(2))
    marks = np.frombuffer(f"{LIST_MARK}{TEXT_MARK}".encode(), np.uint8)
    source = np.frombuffer(text, np.uint8)
    used = functions()["lift"](source, size, out, lengths, list_ends, chars, text_ends, marks)
    if used < 0:
        return None
    lists, texts = int(list_ends[0]), int(text_ends[0])
    list_ends[0] = text_ends[0] = 0
    # Views: what was never written of the long buffers takes no memory.
    return Lifted(
        out[:used].tobytes(),
        lengths[: list_ends[lists]],
        list_ends[: lists + 1],
        chars[: text_ends[texts]],
        text_ends[: texts + 1],
    )


def from_text(text: Text, ends: NDArray[np.int64], size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    chars = np.frombuffer(text if len(text) else b"0", np.uint8)
    return _tube("decode", chars, ends, len(text), size)


def from_runs(lengths: NDArray[np.int64], ends: NDArray[np.int64], size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    return _tube("measure", lengths, ends, len(lengths), size)


def _tube(
    kernel: str, values: NDArray[Any], ends: NDArray[np.int64], runs: int, size: tuple[int, int]
) -> TubeMasks:
    masks = len(ends)
    edges = np.empty(runs + 1, np.int32)
    offsets, areas = np.zeros(masks + 1, np.int64), np.empty(masks, np.int64)
    boxes = np.empty((masks, 4), np.int32)
    bad = functions()[kernel](values, ends, masks, size[0], size[0] * size[1], edges, offsets, areas, boxes)
    if bad >= 0:
        raise BadMaskError(bad)
    return TubeMasks(size, edges[: offsets[-1]].copy(), offsets, areas, boxes)


def overlap(a: TubeMasks, b: TubeMasks, frames: int) -> int:
    """See :class:`vis.evaluation.runs.Engine`."""
    return functions()["overlap"](a.edges, a.offsets, a.boxes, b.edges, b.offsets, b.boxes, frames)


def erode(masks: TubeMasks, width: int) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    side = 2 * width + 1
    columns = int((masks.boxes[:, 2] - masks.boxes[:, 0]).max(initial=0))
    rows = int(np.diff(masks.offsets).max(initial=0)) + 2 * columns
    offsets, areas = np.empty(len(masks) + 1, np.int64), np.empty(len(masks), np.int64)
    scratch = [np.empty(rows + 2, np.int32) for _ in range(3)]
    first = np.empty(columns + 1, np.int64)
    span = [np.empty(side, np.int64) for _ in range(2)]
    out_room, suffix_room = len(masks.edges) + 2 * columns + 64, 4 * rows + 64
    while True:
        out, suffix = np.empty(out_room, np.int32), np.empty(suffix_room, np.int32)
        used = functions()["erode"](
            masks.edges, masks.offsets, masks.boxes, len(masks), masks.size[0], width,
            out, out_room, offsets, areas, *scratch, first, suffix, suffix_room, *span,
        )  # fmt: skip
        if used >= 0:
            return TubeMasks(masks.size, out[:used].copy(), offsets, areas, masks.boxes)
        out_room, suffix_room = 2 * out_room, 2 * suffix_room


def match(
    ious: NDArray[np.float64],
    order: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
) -> NDArray[np.int64]:
    """See :class:`vis.evaluation.runs.Engine`."""
    (detections, truths), ranges, levels = ious.shape, len(order), len(thresholds)
    matched = np.empty((ranges, levels, detections), np.int64)
    taken = np.empty(truths, np.uint8)
    functions()["match"](
        np.ascontiguousarray(ious), detections, truths, np.ascontiguousarray(order),
        np.ascontiguousarray(ignored), np.ascontiguousarray(crowd), ranges, thresholds, levels, taken, matched,
    )  # fmt: skip
    return matched
