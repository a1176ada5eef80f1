"""A function of tensors, recorded as a CUDA graph for each set of shapes that it meets.

A frame of a small network is some hundred kernels of a few microseconds each, and to launch one takes as
long as to run it. A graph launches all at once.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vis.errors import FallbackWarning

__all__ = ["CudaGraphRunner"]

_KEPT = 16
"""CudaGraphRunner graphs per function; each holds its inputs and outputs, and all share their scratch memory."""

Function = Callable[..., tuple[Tensor, ...]]


class CudaGraphRunner:
    """Calls ``function(*tensors) -> tuple of tensors``, as a CUDA graph where ``device`` is a CUDA one.

    The function must be pure, must not look at values (no ``item()``), and must launch the same kernels for
    the same shapes. Where recording fails it is called plainly from then on, with a warning.
    """

    def __init__(self, function: Function, device: torch.device) -> None:
        self.function = function
        self.works = device.type == "cuda"
        self._device = device
        self._graphs: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()
        self._pool: Any = None
        self._lock = threading.Lock()

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The function's result, in tensors of the caller's own."""
        if not self.works:
            return self.function(*tensors)
        key = tuple((x.shape, x.stride(), x.dtype) for x in tensors)
        with self._lock, torch.cuda.device(self._device):  # a graph has one place for its inputs
            graph = self._graphs.get(key)
            if graph is None:
                try:
                    graph = self._record(tensors)
                except RuntimeError as error:
                    self.works = False
                    warnings.warn(
                        f"CUDA graphs do not work here ({str(error).splitlines()[0][:200]}); going on "
                        "without, which is slower",
                        FallbackWarning,
                        stacklevel=2,
                    )
                    return self.function(*tensors)
                self._graphs[key] = graph
                if len(self._graphs) > _KEPT:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            return graph.replay(tensors)

    def _record(self, tensors: tuple[Tensor, ...]) -> _Graph:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        return _Graph(self.function, tensors, self._pool)


class _Graph:
    def __init__(self, function: Function, tensors: tuple[Tensor, ...], pool: Any) -> None:
        self.inputs = [x.clone() for x in tensors]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # compiles, picks algorithms, and fills caches before recording
            for _ in range(2):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        # "thread_local": other threads may go on using the device meanwhile
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.outputs = function(*self.inputs)

    def replay(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for place, tensor in zip(self.inputs, tensors, strict=True):
            place.copy_(tensor)
        self.graph.replay()
        return tuple(x.clone() for x in self.outputs)
