"""torchvision's published weights: found in torch's hub folder, fetched there, or refused with what to do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from vis.errors import WeightsError
from vis.weights import offline_wanted

__all__ = ["fetched"]


def fetched(table: Any, name: str) -> Path:
    """The file of a row of torchvision's table of weights; its name carries the start of its sha256.

    ``name``: the network's, for messages. Raises :class:`WeightsError` where it is not there and cannot be fetched.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(table.url).name
    if not path.is_file():
        fetch = shlex.join(["curl", "--fail", "--create-dirs", "--output", str(path), table.url])
        advice = f"with a network run `{fetch}`, or give a state dict: weights=FILE"
        if offline_wanted():
            raise WeightsError(f"{name}'s weights are not here and VISTUBES_OFFLINE is set; {advice}")
        try:
            table.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"{name}'s weights could not be fetched ({error}); {advice}") from error
    return path
