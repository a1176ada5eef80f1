"""Run-length kernels as machine code, compiled by numba once per machine and kept.

Importing numba takes longer than evaluating a whole data set, and its own cache needs that import.
So the machine code is stored in the user's cache folder: as an image that the system maps (see
:mod:`vis.evaluation.machine_code`), and as an object file for llvmlite where it cannot. The first run on a
machine compiles for some seconds. Without a writable folder every process compiles anew; without numba
:mod:`vis.evaluation.plain` takes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import OutputError
from vis.evaluation.machine_code import flatten, map_image, processor
from vis.files import whole_file

__all__ = ["address", "functions"]

# Arguments per kernel, without the two that numba's calling convention puts in front.
_ARGUMENTS = {
    "lift": 19,
    "decode": 9,
    "measure": 9,
    "fill": 19,
    "erode": 18,
    "sizes": 5,
    "overlap": 6,
    "ious": 10,
    "bands": 13,
    "match": 12,
}
_SOURCES = (
    "kernels",
    "json_kernels",
    "mask_kernels",
    "polygon_kernels",
    "text_kernels",
    "tube_kernels",
    "machine_code",
    "kernel_store",
)
_loaded: dict[str, Callable[..., int]] = {}
_keep_alive: list[Any] = []
_lock = threading.Lock()


def functions() -> dict[str, Callable[..., int]]:
    """The kernels by name, compiled or loaded on the first call of the process."""
    if not _loaded:
        with _lock:
            if not _loaded:
                addresses = _mapped() or _linked()
                _loaded.update({name: _callable(addresses[name], name) for name in _ARGUMENTS})
    return _loaded


def _mapped() -> dict[str, int] | None:
    """Addresses of the kernels in the stored image, None without one."""
    about = processor()
    if about is None:
        return None
    try:
        addresses, keep = map_image(_cache_path(about, "image"))
    except (OSError, ValueError):
        return None
    _keep_alive.append(keep)
    return addresses


def _linked() -> dict[str, int]:
    """Addresses of the kernels after loading their object file, which is compiled where it is missing."""
    import llvmlite.binding as llvm  # type: ignore[import-untyped]

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    here = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    path = _cache_path("\0".join(here).encode(), "o")
    code = _stored(llvm, path)
    linker = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm, jit=True))
    linker.add_object_file(llvm.ObjectFileRef.from_data(code))
    linker.finalize_object()
    _keep_alive.append(linker)
    return {name: linker.get_function_address(f"vistubes_{name}") for name in _ARGUMENTS}


def _stored(llvm: Any, path: Path) -> bytes:
    code = _read(path)
    if code is None:
        with _alone(path):
            code = _read(path) or _make(llvm, path)
    return code


def _make(llvm: Any, path: Path) -> bytes:
    """Compile, and store the object file and the image."""
    import logging  # only here: the fast way needs no logging

    logging.getLogger(__name__).warning(
        "compiling the evaluator's kernels, once on this machine: ten to thirty seconds"
    )
    assembly = _compile(llvm)
    code = _emit(llvm, assembly, jit=True)
    _write(path, code)
    image = flatten(_emit(llvm, assembly, jit=False), [f"vistubes_{name}" for name in _ARGUMENTS])
    if image is not None and (about := processor()):
        _write(_cache_path(about, "image"), image)
    return code


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While one process compiles, others wait for what it stores. Where no lock can be had, each one compiles."""
    from filelock import FileLock

    lock = FileLock(path.with_name(path.name + ".lock"))
    with contextlib.suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _machine(llvm: Any, *, jit: bool) -> Any:
    options = {"jit": True} if jit else {"reloc": "pic", "codemodel": "small"}
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, **options
    )


def _emit(llvm: Any, assembly: str, *, jit: bool) -> bytes:
    code: bytes = _machine(llvm, jit=jit).emit_object(llvm.parse_assembly(assembly))
    return code


def _cache_path(about: bytes, suffix: str) -> Path:
    here = Path(__file__)
    parts = [here.with_name(f"{name}.py").read_bytes() for name in _SOURCES]
    parts += [_version("numba"), _version("llvmlite"), np.__version__.encode(), about]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    return _cache_folder() / "kernels" / f"{key}.{suffix}"


def _cache_folder() -> Path:
    """The folder of ``vis.weights.cache.cache_folder``, on Linux without the import of platformdirs, which is slow."""
    platform: str = sys.platform
    if chosen := os.environ.get("VISTUBES_CACHE"):
        return Path(chosen).expanduser()
    if platform == "linux":
        stated = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(stated) if stated.strip() else Path("~/.cache").expanduser()) / "vistubes"
    import platformdirs

    return Path(platformdirs.user_cache_dir("vistubes", appauthor=False))


def _version(package: str) -> bytes:
    """What a package's own version file says; importing it, or asking its metadata, is slow."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed")
    return Path(spec.origin).with_name("_version.py").read_bytes()


def _read(path: Path) -> bytes | None:
    """The stored code, if it is there and whole: 32 bytes of sha256, then the code."""
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


def _compile(llvm: Any) -> str:
    """All kernels as LLVM assembly, with nothing left to be found elsewhere."""
    from numba import njit, types

    from vis.evaluation.kernels import KERNELS

    whole = llvm.parse_assembly(_memset(llvm))
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
    return str(whole)


def _memset(llvm: Any) -> str:
    """A memset of our own: loops that clear memory are compiled to calls of it."""
    from llvmlite import ir

    byte, size = ir.IntType(8), ir.IntType(64)
    place = byte.as_pointer()
    module = ir.Module()
    module.triple = llvm.get_process_triple()
    function = ir.Function(module, ir.FunctionType(place, [place, ir.IntType(32), size]), "memset")
    start, loop, body, end = (function.append_basic_block(name) for name in ("start", "loop", "body", "end"))
    builder = ir.IRBuilder(start)
    value = builder.trunc(function.args[1], byte)
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(size)
    builder.cbranch(builder.icmp_unsigned("<", index, function.args[2]), body, end)
    builder.position_at_end(body)
    builder.store(value, builder.gep(function.args[0], [index]))
    index.add_incoming(size(0), start)
    index.add_incoming(builder.add(index, size(1)), body)
    builder.branch(loop)
    builder.position_at_end(end)
    builder.ret(function.args[0])
    return str(module)


def _callable(place: int, name: str) -> Callable[..., int]:
    """A Python function that passes arrays as addresses and ints as int64, without the lock held."""
    if not place:
        raise RuntimeError(f"compiled kernels lack {name}")
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *([ctypes.c_void_p] * (2 + _ARGUMENTS[name])))
    function = prototype(place)

    def call(*arguments: Any) -> int:
        result = ctypes.c_int64()
        function(
            ctypes.addressof(result),
            None,
            *[address(a) if isinstance(a, np.ndarray) else a for a in arguments],
        )
        return result.value

    return call


def address(values: NDArray[Any]) -> int:
    """Where the array's data begins in memory."""
    place: int = values.__array_interface__["data"][0]
    return place
