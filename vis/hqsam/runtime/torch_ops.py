"""Matrix products and convolutions with what follows them (bias, GELU, residual) in one pass.

On x86 CPUs PyTorch carries oneDNN's fused operators for its compiler; they are used here directly where a
self-test finds them present and right. Everywhere else plain PyTorch does the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["conv", "depthwise", "fast_dtype", "float32_products", "fused", "linear", "linear_add"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, with GELU if wanted; (..., I) to (..., O)."""
    if fused(x.dtype, x.device.type):
        name, algorithm = ("gelu", "none") if gelu else ("none", "")
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], algorithm)
        return out
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


def linear_add(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor) -> Tensor:
    """``x @ weight.T + bias + residual``; (..., I) to (..., O)."""
    if fused(x.dtype, x.device.type):
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, "add")
        return out
    return F.linear(x, weight, bias) + residual


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, gelu: bool = False) -> Tensor:
    """Convolution that keeps (or halves) the size: (B, H, W, I) to (B, H / stride, W / stride, O)."""
    return _conv(x, weight, bias, stride, 1, gelu)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, gelu: bool = False) -> Tensor:
    """Convolution of each channel by itself: (B, H, W, C) to (B, H / stride, W / stride, C)."""
    return _conv(x, weight, bias, stride, x.shape[-1], gelu)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, groups: int, gelu: bool) -> Tensor:
    pad = weight.shape[-1] // 2
    x = x.permute(0, 3, 1, 2)
    if gelu and fused(x.dtype, x.device.type):
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, [pad, pad], [stride, stride], [1, 1], groups, "gelu", [], "none"
        )
        return out.permute(0, 2, 3, 1)
    y = F.conv2d(x, weight, bias, stride, pad, groups=groups)
    return (F.gelu(y) if gelu else y).permute(0, 2, 3, 1)


@functools.cache
def fused(dtype: torch.dtype, device: str) -> bool:
    """Whether the fused operators exist for this type and compute what plain PyTorch computes."""
    if device != "cpu" or not torch._C._has_mkldnn:
        return False
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, weight, bias, more = noise(1, 8, 8, 32), noise(48, 32), noise(48), noise(1, 8, 8, 48)
    kernel, one = noise(32, 1, 3, 3), [1, 1]
    image = x.permute(0, 3, 1, 2)
    try:
        ops = torch.ops.mkldnn
        have = (
            ops._linear_pointwise(x, weight, bias, "none", [], ""),
            ops._linear_pointwise(x, weight, bias, "gelu", [], "none"),
            ops._linear_pointwise.binary(x, more, weight, bias, "add"),
            ops._convolution_pointwise(image, kernel, None, one, one, one, 32, "gelu", [], "none"),
        )
    except (AttributeError, RuntimeError):  # these operators are not a public interface
        return False
    y = F.linear(x.float(), weight.float(), bias.float())
    want = (
        y,
        F.gelu(y),
        y + more.float(),
        F.gelu(F.conv2d(image.float(), kernel.float(), padding=1, groups=32)),
    )
    limit = 2e-2 if dtype == torch.bfloat16 else 1e-5
    return all(
        bool((a.float() - b).abs().max() <= limit * b.abs().max()) for a, b in zip(have, want, strict=True)
    )


@functools.cache
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where this processor has instructions for it and computes it right; else float32.

    A processor without the instructions emulates bfloat16, slower than float32, and nothing says so.
    The choice must be the same in every run on a machine, or a resumed run would end in other bytes:
    so it asks the processor and never a clock. float16 is no choice: it overflows in ViT-H.
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
        with float32_products(device, short=False):
            return (
                near(torch.matmul, noise(1024, 256), noise(256, 512))
                and near(functools.partial(F.conv2d, padding=1), noise(1, 32, 16, 16), noise(64, 32, 3, 3))
                and near(F.scaled_dot_product_attention, *noise(3, 1, 4, 64, 64))
            )
    except RuntimeError:
        return False


@contextmanager
def float32_products(device: str, *, short: bool) -> Iterator[None]:
    """On CUDA, how products of float32 numbers are taken: in full, or ``short`` as TensorFloat-32 (11 bits).

    PyTorch's own default is short for convolutions and full for matrices. Elsewhere this does nothing.
    Matrices go by the older of PyTorch's two switches, since that one sets both: its compiler, among others,
    refuses to read the older one while they differ.
    """
    if device != "cuda":
        yield
        return
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = _matrix_products(), conv.fp32_precision
    try:
        torch.set_float32_matmul_precision("high" if short else "highest")
        conv.fp32_precision = "tf32" if short else "ieee"
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
    """Whether the processor has matrix or vector instructions for bfloat16 (AVX-512 BF16, AMX, Arm BF16)."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities:
        return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
    # PyTorch before 2.10 does not list them.
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
