"""The kernels on tensors: maps (H, W, C) in, maps out, on as many threads as PyTorch is set to.

Work is shared out by rows or windows, and no row's numbers depend on who computes it or beside which others.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vis.hqsam.simd.library import Library

__all__ = ["Maps", "Packed"]

_PITCH = 16
"""Floats put behind a pixel's channels where columns are walked: steps of a power of two share cache sets."""
_STRIP_BYTES = 128 * 1024
"""Of a product's left matrix at a time, about: what the second-level cache keeps beside a panel."""
_MANY_WEIGHTS = 2**20
"""From here on the weights leave that cache before they are used again: better many rows for each panel."""
_LARGE = 2**20
"""Floats from which numpy uses large pages."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Weights of a product, in panels."""

    weight: Tensor
    bias: Tensor
    inner: int
    outer: int


class Maps:
    """What the layers of the networks need, in float32."""

    def __init__(self, library: Library) -> None:
        from vis.hqsam.simd.attention import room_for_windows
        from vis.hqsam.simd.layers import TILE
        from vis.hqsam.simd.position_attention import room_for_positions

        self.run = library
        self.columns = library.columns
        self._tile, self._room_for_windows = TILE, room_for_windows
        self._room_for_positions = room_for_positions

    # Weights

    def fits(self, *widths: int) -> bool:
        """Whether results can be so wide: whole panels."""
        return all(width % self.columns == 0 for width in widths)

    def pack(self, weight: Tensor, bias: Tensor | None) -> Packed:
        """(O, I) and (O,)."""
        outer, inner = weight.shape
        panels = weight.float().view(-1, self.columns, inner).transpose(1, 2).contiguous()
        bias = torch.zeros(outer) if bias is None else bias.float().contiguous()
        return Packed(panels, bias, inner, outer)

    def pack_3x3(self, weight: Tensor, bias: Tensor | None) -> Packed:
        """(O, I, 3, 3) and (O,)."""
        return self.pack(weight.permute(0, 2, 3, 1).flatten(1), bias)

    # Layers

    def linear(
        self,
        x: Tensor,
        w: Packed,
        *,
        gelu: bool = False,
        add: Tensor | None = None,
        norm: Tensor | None = None,
        pitch: int | None = None,
    ) -> Tensor:
        """(..., I) to (..., O): ``x @ w + bias``, with a residual and GELU, or of the normalised ``x``.

        ``norm`` is weight, bias and epsilon of a LayerNorm, one behind the other. ``pitch`` leaves room behind
        each row of the result.
        """
        rows, ldo = x.numel() // w.inner, pitch or w.outer
        out = empty(*x.shape[:-1], ldo)
        panels, strip = w.outer // self.columns, self._strip(w.inner, w.outer)
        name = ("add" if add is not None else "") + ("_gelu" if gelu and add is not None else "gelu" * gelu)
        product = getattr(self.run, f"product_{name or 'plain'}")

        def work(first: int, last: int) -> None:
            a, to = at(x, first * w.inner), at(out, first * ldo)
            if norm is not None:
                room = torch.empty(strip, w.inner)
                self.run.normed_product(
                    *(a, at(norm), at(w.weight), at(w.bias), to, at(room)),
                    *(last - first, w.inner, panels, ldo, strip),
                )
                return
            residual = a if add is None else at(add, first * w.outer)
            product(
                *(a, at(w.weight), at(w.bias), residual, to, last - first, panels),
                *(w.inner, 1, w.inner, 0, w.outer, ldo, strip),
            )

        share(rows, work)
        return out

    def feed_forward(self, x: Tensor, norm: Tensor, widen: Packed, narrow: Packed) -> Tensor:
        """``x + narrow(gelu(widen(norm(x))))``, in place."""
        channels, hidden = widen.inner, widen.outer
        strip = self._strip(hidden, channels)

        def work(first: int, last: int) -> None:
            room = torch.empty(strip, channels + hidden)
            here = at(x, first * channels)
            self.run.feed_forward(
                *(here, at(norm), at(widen.weight), at(widen.bias), at(narrow.weight), at(narrow.bias)),
                *(here, at(room), last - first, channels, hidden, strip),
            )

        share(x.numel() // channels, work)
        return x

    def norm(self, x: Tensor, norm: Tensor, out: Tensor) -> Tensor:
        """LayerNorm of the last axis of (H, W, C) into ``out``, whose rows may lie further apart."""
        height, width, channels = x.shape

        def work(first: int, last: int) -> None:
            for y in range(first, last):
                self.run.norm(at(x[y]), at(norm), at(out[y]), width, channels, channels, channels)

        share(height, work)
        return out

    def norm_gelu(self, x: Tensor, norm: Tensor) -> Tensor:
        """GELU of the LayerNorm of the last axis."""
        channels = x.shape[-1]
        out = empty(*x.shape)

        def work(first: int, last: int) -> None:
            here = first * channels
            self.run.norm_gelu(
                at(x, here), at(norm), at(out, here), last - first, channels, channels, channels
            )

        share(x.numel() // channels, work)
        return out

    def bottleneck(self, x: Tensor, widen: Packed, mix: tuple[Tensor, Tensor], narrow: Packed) -> Tensor:
        """Inverted bottleneck with residual and GELU; ``mix`` is (3, 3, C) and (C,)."""
        height, width, channels = x.shape
        hidden = widen.outer
        pitch = hidden + _PITCH
        out = empty(*x.shape)

        def work(first: int, last: int) -> None:
            room = torch.empty(4 * (self._tile + 2), pitch)
            self.run.bottleneck(
                *(at(x), at(widen.weight), at(widen.bias), at(mix[0]), at(mix[1]), at(narrow.weight)),
                *(at(narrow.bias), at(out), at(room)),
                *(first, last, height, width, channels, hidden, pitch),
            )

        share(height, work)
        return out

    def depthwise(
        self, x: Tensor, mix: tuple[Tensor, Tensor], stride: int = 1, *, gelu: bool = False
    ) -> Tensor:
        """Depthwise 3x3 of (H, W, C or more) to (H / stride, W / stride, C), both even for stride 2."""
        height, width, pitch = x.shape
        channels = mix[1].numel()
        out = empty(height // stride, width // stride, channels)
        kernel = self.run.depthwise_half_gelu if stride == 2 else self.run.depthwise_gelu if gelu else None
        kernel = kernel or self.run.depthwise_plain

        def work(first: int, last: int) -> None:
            kernel(
                *(at(x), at(mix[0]), at(mix[1]), at(out)),
                *(first, last, height, width, channels, pitch, channels),
            )

        share(len(out), work)
        return out

    def convolution(
        self, x: Tensor, w: Packed, stride: int = 1, *, gelu: bool = False, border: bool = False
    ) -> Tensor:
        """3x3 of (H + 2, W + 2, C) with a border of zeros; with ``border`` the result has one, too."""
        height, width, channels = x.shape
        rows, columns, edge = (height - 2) // stride, (width - 2) // stride, int(border)
        shape = rows + 2 * edge, columns + 2 * edge, w.outer
        out = empty(*shape)
        if border:
            for side in (out[0], out[-1], out[:, 0], out[:, -1]):
                side.zero_()
        kernel = self.run.convolution_gelu if gelu else self.run.convolution_plain

        def work(first: int, last: int) -> None:
            kernel(
                *(at(x), at(w.weight), at(w.bias), at(out, edge * (out.stride(0) + out.stride(1)))),
                *(first, last, columns, channels, stride, width * channels),
                *(w.outer // self.columns, w.outer, out.stride(0)),
            )

        share(rows, work)
        return out

    def bias_table(self, bias: Tensor) -> Tensor:
        """(heads, n, n) to what :meth:`window_attention` wants."""
        n = bias.shape[-1]
        table = torch.full((*bias.shape[:2], -(-n // self.columns) * self.columns), -1e30)
        table[..., :n] = bias
        return table

    def attend(
        self,
        x: Tensor,
        norm: Tensor,
        qkv: Packed,
        padding: Tensor,
        bias: Tensor,
        proj: Packed,
        window: int,
    ) -> Tensor:
        """``x + proj(attention(qkv(norm(x))))`` in windows: (H, W, C) to (H, W, C and what pads a pixel).

        ``qkv`` gives per head queries (scaled), keys and values, ``padding`` (3 * C,) the same for a pixel
        outside; ``bias`` is a :meth:`bias_table`.
        """
        height, width, channels = x.shape
        heads, _, pitch = bias.shape
        size, ldo, strip = channels // heads, channels + _PITCH, self._strip(channels, 3 * channels)
        out = empty(height, width, ldo)
        attention_room = self._room_for_windows(window, size, pitch)
        pixels = window * width

        def work(first: int, last: int) -> None:
            room = empty(attention_room + pixels * 4 * channels + strip * channels)
            room[:attention_room] = 0
            for top in range(first * window, min(height, last * window), window):
                self.run.attention_band(
                    *(at(x[top]), at(norm), at(qkv.weight), at(qkv.bias), at(padding), at(bias)),
                    *(at(proj.weight), at(proj.bias), at(out[top]), at(room)),
                    *(min(window, height - top), width, width, window, heads, size, pitch, ldo, strip),
                    attention_room,
                )

        share(-(-height // window), work)
        return out

    def attend_to_few(
        self,
        x: Tensor,
        position: Tensor,
        keys: Tensor,
        offset: Tensor,
        values: Tensor,
        bias: Tensor,
        norm: Tensor,
        out: Tensor,
    ) -> None:
        """``out = norm(x + bias + sum over heads of softmax((x + position) @ keys + offset) @ values)``.

        ``x``, ``position`` and ``out`` are (P, C), ``keys`` and ``values`` (heads, T, C), ``offset`` (heads, T).
        """
        heads, count, channels = keys.shape
        fill = (0, 0, 0, -count % self.run.width)
        while heads * (count + fill[3]) % self.columns:
            fill = (0, 0, 0, fill[3] + self.run.width)
        group, strip = count + fill[3], 16 * self.run.rows
        asked = self.pack(F.pad(keys, fill).flatten(0, 1), F.pad(offset, fill[2:], value=-1e30).flatten())
        given = self.pack(F.pad(values, fill).flatten(0, 1).T, bias)

        def work(first: int, last: int) -> None:
            here = first * channels
            room = torch.empty(strip, 2 * channels + heads * group)
            self.run.few_keys(
                *(at(x, here), at(position, here), at(asked.weight), at(asked.bias), at(given.weight)),
                *(at(given.bias), at(norm), at(out, here), at(room)),
                *(last - first, channels, heads, group, strip),
            )

        share(len(x), work)

    def position_table(self, table: Tensor) -> Tensor:
        """(side, side, d) vectors by query and key to what :meth:`attend_by_position` wants."""
        side = len(table)
        padded = F.pad(table, (0, 0, 0, -side % self.columns))
        return torch.stack([self.pack(matrix, None).weight for matrix in padded])

    def attend_by_position(
        self, qkv: Tensor, padding: Tensor, by_row: Tensor, by_column: Tensor, *, window: int, heads: int
    ) -> Tensor:
        """Attention with decomposed relative position in windows: (H, W, 3 * C) to (H, W, C).

        ``qkv`` holds all queries, then keys (scaled), then values, ``padding`` (3 * C,) the same for a pixel
        outside; ``by_row`` and ``by_column`` are each a :meth:`position_table`.
        """
        height, width, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        size, line = channels // heads, -(-window // self.columns) * self.columns
        behind = torch.zeros(line)
        behind[window:] = -1e30
        out = empty(height, width, channels)

        def work(first: int, last: int) -> None:
            room = empty(self._room_for_positions(window, line, size)).zero_()
            self.run.position_attention(
                *(at(qkv), at(padding), at(by_row), at(by_column), at(behind), at(out), at(room)),
                *(first, last, height, width, window, heads, size, line),
            )

        share(-(-height // window) * -(-width // window) * heads, work)
        return out

    def _strip(self, inner: int, outer: int) -> int:
        rows = self.run.rows
        if inner * outer > _MANY_WEIGHTS:
            return 32 * rows
        return max(1, min(16, _STRIP_BYTES // (4 * inner * rows))) * rows


def empty(*shape: int) -> Tensor:
    """Space for floats, from numpy where it is large: numpy asks the system for large pages.

    With small ones, the first touch of each page costs more than many a layer's arithmetic.
    """
    count = math.prod(shape)
    if count < _LARGE:
        return torch.empty(shape)
    raw = torch.from_numpy(np.empty(count + 16, np.float32))
    start = -(raw.data_ptr() // 4) % 16  # vectors should not straddle cache lines
    return raw[start : start + count].view(shape)


def at(x: Tensor, offset: int = 0) -> int:
    """Address of a number of a tensor.

    The kernels know no strides, and read what lies there: a tensor that is laid out otherwise is refused.
    """
    if x.dtype != torch.float32 or not x.is_contiguous():
        raise ValueError(
            f"kernels take float32 without gaps, got {x.dtype} {tuple(x.shape)}, strides {x.stride()}"
        )
    return x.data_ptr() + 4 * offset


def share(count: int, work: Callable[[int, int], None]) -> None:
    """``work(first, last)`` for all of ``range(count)``, in parts, on PyTorch's number of threads."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count)
        return
    ends = [count * i // threads for i in range(threads + 1)]
    pool = _pool(os.getpid(), threads)
    others = [pool.submit(work, *part) for part in pairwise(ends[1:])]
    work(0, ends[1])
    for other in others:
        other.result()


@functools.lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    del process  # a forked child has none of its parent's threads
    return ThreadPoolExecutor(threads - 1, "vistubes-simd")
