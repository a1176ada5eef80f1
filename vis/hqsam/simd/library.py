"""The kernels compiled for this processor, as functions of addresses."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vis.hqsam.simd.code import Code

__all__ = ["Library", "shape_for"]


def shape_for(machine: str, features: Mapping[str, bool]) -> tuple[int, int] | None:
    """Floats of a vector and rows of a product's tile that suit a processor; None for none.

    A tile's sums, two vectors a row, and what they are made of fill the registers: 16 of AVX2, 32 of AVX-512.
    Other kinds of processor are left to PyTorch: nobody has measured there.
    """
    if machine.lower() not in ("x86_64", "amd64") or not (features.get("avx2") and features.get("fma")):
        return None
    return (16, 8) if features.get("avx512f") and features.get("avx512vl") else (8, 6)


class Library:
    """Machine code of ``code``, or of all kernels for vectors of ``width`` floats and tiles of ``rows`` rows.

    Compiling them takes about half a second. The functions are attributes; they take addresses of float32
    numbers and counts, check nothing, and leave other threads of Python running.
    """

    def __init__(self, width: int, rows: int, code: Code | None = None) -> None:
        import llvmlite.binding as llvm  # type: ignore[import-untyped]

        self.width, self.rows, self.columns = width, rows, 2 * width
        code = code or _all_kernels(width, rows)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=3,
            jit=True,
        )
        self._linker = llvm.create_mcjit_compiler(llvm.parse_assembly(str(code.module)), machine)
        self._linker.finalize_object()
        self._functions: dict[str, Callable[..., None]] = {}
        for name, function in code.functions.items():
            if function.linkage == "internal":
                continue
            kinds = [ctypes.c_int64 if a.type == code.integer else ctypes.c_void_p for a in function.args]
            place = self._linker.get_function_address(function.name)
            made = ctypes.CFUNCTYPE(None, *kinds)(place)
            made.code = self._linker  # type: ignore[attr-defined]  # which owns it
            self._functions[name] = made

    @classmethod
    def for_this_processor(cls) -> Library | None:
        """None where llvmlite is missing or the processor's instructions do not suffice."""
        try:
            import llvmlite.binding as llvm
        except ImportError:
            return None
        shape = shape_for(platform.machine(), llvm.get_host_cpu_features())
        return None if shape is None else cls(*shape)

    def __getattr__(self, name: str) -> Callable[..., None]:
        try:
            found: Callable[..., None] = self.__dict__["_functions"][name]
        except KeyError:
            raise AttributeError(name) from None
        return found


def _all_kernels(width: int, rows: int) -> Code:
    from vis.hqsam.simd.attention import write_attention
    from vis.hqsam.simd.code import Code
    from vis.hqsam.simd.layers import write_layers
    from vis.hqsam.simd.position_attention import write_position_attention
    from vis.hqsam.simd.products import write_products

    code = Code(width, rows)
    write_products(code)
    write_layers(code)
    write_attention(code)
    write_position_attention(code)
    return code
