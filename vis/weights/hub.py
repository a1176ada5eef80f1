"""Pretrained models of a hub, or of a folder: fetched whole, loaded strictly, named with their checksum.

What is missing is said with the command that gets it: the package, the weights, or the network.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vis.errors import CheckpointError, DependencyError, WeightsError
from vis.weights.cache import sha256_of
from vis.weights.fetch import offline_wanted

__all__ = [
    "check_keys",
    "checkpoint_folder",
    "class_names_of",
    "is_cached",
    "load_model",
    "load_processor",
    "model_type_of",
    "quiet_library",
    "require",
    "weights_sha256",
]

_TEXT_FILES = ("*.json", "*.txt", "*.model")
# Keys that a checkpoint may lack or have to spare: made anew from the configuration, used in training
# only, or (a last norm that newer versions add to Swin) never used by a backbone of feature maps.
_DISPENSABLE = (
    "relative_position_index",
    "position_ids",
    "empty_weight",
    "num_batches_tracked",
    "attn_mask_probs",
    "encoder.swin.layernorm.weight",
    "encoder.swin.layernorm.bias",
)


def require(module: str, *names: str) -> Any:
    """Import an optional package, or say how to install it; checks that it has ``names``."""
    package = module.partition(".")[0]
    try:
        found = importlib.import_module(module)
        for name in names:
            getattr(found, name)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise DependencyError(
            f"this model needs the package {package}: run `pip install -U 'vis-tubes[models]'` ({error})"
        ) from error
    return found


def checkpoint_folder(weights: str | Path) -> Path:
    """A local folder as it is, or a hub repository ``owner/name`` fetched into the hub's own cache.

    Safetensors are preferred; pickled weights are fetched only where there are no others. Raises
    :class:`WeightsError` with the command to run.
    """
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder
    name = str(weights)
    if (
        name.count("/") != 1
        or name.startswith((".", "/", "~"))
        or Path(name).suffix in (".pth", ".pkl", ".pt")
    ):
        raise WeightsError(f"no folder {folder}; give one with config.json, or a hub name like owner/model")
    hub = require("huggingface_hub", "snapshot_download")
    options: dict[str, Any] = {"local_files_only": offline_wanted()}
    if os.environ.get("HF_ENDPOINT"):
        options["endpoint"] = os.environ["HF_ENDPOINT"]
    try:
        found = hub.snapshot_download(name, allow_patterns=[*_TEXT_FILES, "*.safetensors"], **options)
        if not list(Path(found).glob("*.safetensors")):
            found = hub.snapshot_download(
                name, allow_patterns=[*_TEXT_FILES, "pytorch_model*.bin"], **options
            )
    except Exception as error:  # the hub's and its transport's errors share no base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if type(error).__name__ == "GatedRepoError":
            raise WeightsError(
                f"the weights {name} are given only to who has accepted their terms ({reason}). Accept them at "
                f"https://huggingface.co/{name}, then run `hf auth login` and `hf download {name}`, or give the "
                "folder that holds them"
            ) from error
        raise WeightsError(
            f"the weights {name} are not here and could not be fetched ({reason}). With a network run "
            f"`hf download {name}` (and leave VISTUBES_OFFLINE unset), or give the folder that holds them"
        ) from error
    if not _weight_files(Path(found)):
        raise WeightsError(
            f"the weights of {name} are not in the cache; with a network run `hf download {name}`"
        )
    return Path(found)


def is_cached(repository: str) -> bool:
    """Whether the hub's cache holds a repository's weights; never asks the network."""
    hub = require("huggingface_hub", "snapshot_download")
    try:
        found = hub.snapshot_download(repository, local_files_only=True)
    except Exception:  # the hub's errors share no base
        return False
    return bool(_weight_files(Path(found)))


def load_model(model_class: Any, folder: Path, **options: Any) -> Any:
    """``model_class.from_pretrained(folder)`` in evaluation mode, where every key must find its place.

    A missing file, unreadable weights, or missing and unexpected keys raise :class:`CheckpointError`.
    """
    try:
        with quiet_library():
            model, info = model_class.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, **options
            )
    except ImportError as error:  # the package of a backbone
        raise DependencyError(
            f"{model_class.__name__} needs one more package: run `pip install -U 'vis-tubes[models]'` ({error})"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{folder} does not hold a {model_class.__name__}: {error}") from error
    check_keys(info, str(folder))
    return model.eval()


def load_processor(processor_class: Any, folder: Path) -> Any:
    """``processor_class.from_pretrained(folder)``: image, video or text preprocessing of a checkpoint."""
    try:
        return processor_class.from_pretrained(folder, local_files_only=True)
    except ImportError as error:  # some need torchvision, and say so only now
        raise DependencyError(
            f"this model's preprocessing needs one more package: run `pip install -U 'vis-tubes[models]'` ({error})"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} lacks the configuration of its preprocessing: {error}") from error


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """No progress bars and no key report of transformers: the check of keys below says it as an error."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def check_keys(info: dict[str, Any], where: str) -> None:
    """Raise :class:`CheckpointError` that lists keys which are missing, left over, or of another shape."""
    problems = []
    for title in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = [key if isinstance(key, str) else str(key[0]) for key in info.get(title, ())]
        keys = sorted(key for key in keys if not key.endswith(_DISPENSABLE))
        if keys:
            shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            problems.append(f"{len(keys)} {title.replace('_', ' ')} ({shown})")
    if problems:
        raise CheckpointError(f"{where} does not fit the model: {'; '.join(problems)}")


def model_type_of(folder: Path) -> str:
    """What a folder's ``config.json`` says that it holds, such as ``sam2_video``; empty where it says nothing."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""


def class_names_of(config: Any) -> tuple[str, ...]:
    """Class names in the order of the labels, from a model's configuration."""
    return tuple(str(config.id2label[label]) for label in sorted(config.id2label))


def weights_sha256(folder: Path) -> dict[str, str]:
    """Name -> sha256 of the folder's weight files, for the record of how a result was made."""
    return {
        f"{_model_name(folder)}/{file.name}": _sha256(file, *_state(file)) for file in _weight_files(folder)
    }


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=32)
def _sha256(file: Path, size: int, time: int) -> str:  # noqa: ARG001 - they say that it is the same file
    """Gigabytes are read once in a process."""
    return sha256_of(file)


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _model_name(folder: Path) -> str:
    # The hub's cache: models--owner--name/snapshots/<revision>
    parts = [part for part in folder.parts if part.startswith("models--")]
    return parts[-1].removeprefix("models--").replace("--", "/") if parts else folder.name
