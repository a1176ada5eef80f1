"""Number types: where bfloat16 pays and is right, and how CUDA multiplies float32 numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["float32_products", "low_precision_dtype"]


@functools.cache
def low_precision_dtype(device: str) -> torch.dtype:
    """bfloat16 where this device has instructions for it and computes it right; else float32.

    A CPU without the instructions emulates bfloat16, slower than float32, and nothing says so.
    The choice must be the same in every run on a machine, or a resumed run would end in other bytes:
    so it asks the device and never a clock. float16 is no choice: it overflows in ViT-H.
    """
    if device == "cuda":
        has = torch.cuda.get_device_capability()[0] >= 8 or torch.version.hip is not None
    else:
        has = device == "cpu" and _multiplies_bfloat16()
    return torch.bfloat16 if has and _bfloat16_is_right(device) else torch.float32


def _bfloat16_is_right(device: str) -> bool:
    """Whether products, convolution and attention in bfloat16 come near those in float32."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    def near(function: Callable[..., Tensor], *given: Tensor) -> bool:
        want = function(*given)
        error = (function(*(x.bfloat16() for x in given)).float() - want).abs().max()
        return bool(error <= 2e-2 * want.abs().max())

    try:
        with float32_products(device, allow_tf32=False):
            return (
                near(torch.matmul, noise(1024, 256), noise(256, 512))
                and near(functools.partial(F.conv2d, padding=1), noise(1, 32, 16, 16), noise(64, 32, 3, 3))
                and near(F.scaled_dot_product_attention, *noise(3, 1, 4, 64, 64))
            )
    except RuntimeError:
        return False


@contextmanager
def float32_products(device: str, *, allow_tf32: bool) -> Iterator[None]:
    """On CUDA, how products of float32 numbers are taken: in full, or as TensorFloat-32 (11 bits).

    PyTorch's own default is TensorFloat-32 for convolutions and full for matrices. Elsewhere this does nothing.
    Matrices go by the older of PyTorch's two switches, since that one sets both: its compiler, among others,
    refuses to read the older one while they differ.
    """
    if device != "cuda":
        yield
        return
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = _matrix_products(), conv.fp32_precision
    try:
        torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
        conv.fp32_precision = "tf32" if allow_tf32 else "ieee"
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        conv.fp32_precision = before[1]


def _matrix_products() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # somebody set the newer switch alone
        return "high" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "highest"


def _multiplies_bfloat16() -> bool:
    """Whether the CPU has matrix or vector instructions for bfloat16 (AVX-512 BF16, AMX, Arm BF16)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
