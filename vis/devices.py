"""Which torch device a name means. Loads torch when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vis.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["pick_device"]


def pick_device(device: str) -> torch.device:
    """The torch device that a name means; "auto" is CUDA where there is one, else the CPU."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device {device!r} is unknown; choose auto, cpu, cuda, cuda:N or mps") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} is not there: torch sees no CUDA device; choose cpu or auto")
    return target
