"""What all tests share: the optional data folder, and a machine kept quiet."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Two test processes on two cores: one thread each is faster than four that fight.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


_POLICY = os.sched_getscheduler(0) if sys.platform == "linux" else None

# A busy machine is no failure: no example is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal tests out: ``--dist worksteal`` gives each process one stretch of this list, in its order.

    The page's tests, which wait for a browser most of the time, are the last process's, so that one alone serves
    pages; the long ones are dealt over the others. Short ones come last in every stretch, so that whoever is done
    early can take over some of another's.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    page = [item for item in items if item.path.parent.name == "page"]
    long = [item for item in items if item not in page and item.get_closest_marker("slow")]
    short = [item for item in items if item not in page and item not in long]
    others = max(1, processes - 1)
    stretches = [long[number::others] for number in range(others)]
    stretches = [*stretches, page] if processes > 1 else [long + page]
    left = len(items)
    items.clear()
    for number, stretch in enumerate(stretches):
        room = max(0, left // (processes - number) - len(stretch))
        items += stretch + short[:room]
        left -= len(stretch) + len(short[:room])
        del short[:room]
    items += short


@pytest.fixture(autouse=True)
def no_test_slows_the_next_ones() -> Iterator[None]:
    """A test that runs ``batch`` in this process sets its threads; two of them make the next tests slow threefold.

    One that leaves this process with real-time priority, as an encoder may, makes the other ones' slow tenfold.
    """
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
    if sys.platform == "linux" and os.sched_getscheduler(0) != _POLICY:
        os.sched_setscheduler(0, _POLICY, os.sched_param(0))
        pytest.fail("the test has changed how the system schedules this process")


def pytest_collection_finish() -> None:
    """What the tests' modules have loaded stays loaded: looking through it for garbage takes a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def quick_collection() -> None:
    """``gc.collect()`` looks at what the test makes, not at what tests before it have loaded."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder: $VISTUBES_SHARED_DATA, else ``shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VISTUBES_SHARED_DATA", beside))
    if not (folder / "README.md").is_file():
        pytest.skip(f"shared data not found at {folder}; set VISTUBES_SHARED_DATA to its place")
    return folder


def _lively(model: Any, seed: int) -> Any:
    """Random weights that keep activations of order one, so that masks have both signs and scores differ."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        places = [item for item in model.named_buffers() if item[0].endswith(".positional_embedding")]
        for name, value in [*model.named_parameters(), *places]:
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim < 2:
                value.copy_(1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise)
            elif name.endswith(("embed.weight", "token.weight", "tokens.weight")) or value.shape[0] == 1:
                value.copy_(0.5 * noise)
            else:
                value.copy_(1.3 * noise / (value.numel() / value.shape[0]) ** 0.5)
            if "pred_obj_score_head.proj_out" in name:  # objects are in sight
                value.mul_(0.1).add_(1 if name.endswith("bias") else 0)
    return model.eval()


def _promptable(side: int, patch: int) -> dict[str, Any]:
    """Configuration of a small prompt encoder, decoder and memory, shared by SAM 2 and its kin.

    The memory's 64 channels are fixed in the library, and pointers must be wider.
    """
    return {
        "image_size": side,
        "prompt_encoder_config": {"hidden_size": 128, "image_size": side, "patch_size": patch},
        "mask_decoder_config": {
            "hidden_size": 128,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        "memory_attention_hidden_size": 128,
        "memory_attention_num_layers": 1,
        "memory_attention_rope_feat_sizes": [side // patch, side // patch],
        "memory_encoder_hidden_size": 128,
        "mask_downsampler_embed_dim": 128,
        "memory_fuser_embed_dim": 128,
        "memory_fuser_intermediate_dim": 32,
        "max_object_pointers_in_encoder": 6,
    }


_FEATURES = {"fpn_hidden_size": 128, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}


def _save(folder: Path, model: Any, processor: Any, side: int) -> Path:
    from safetensors.torch import save_file

    # By its modules' names, as the hubs' files are: what the library writes itself of a SAM 3 bears some twice.
    folder.mkdir(exist_ok=True)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors"
    )
    model.config.save_pretrained(folder)
    sizes = {"size": {"height": side, "width": side}, "mask_size": {"height": 16, "width": 16}}
    processor(**sizes).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sam2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SAM 2.1 of 64 x 64 pixels, saved as its hub repositories are: a video model."""
    transformers = pytest.importorskip("transformers")

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "window_positional_embedding_background_size": [4, 4],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        **_FEATURES,
    }
    config = transformers.Sam2VideoConfig(
        vision_config=vision, memory_attention_feed_forward_hidden_size=32, **_promptable(64, 16)
    )
    folder = tmp_path_factory.mktemp("hub") / "small-sam2"
    return _save(folder, _lively(transformers.Sam2VideoModel(config), 1), transformers.Sam2ImageProcessor, 64)


@pytest.fixture(scope="session")
def edgetam_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random EdgeTAM of 64 x 64 pixels."""
    transformers = pytest.importorskip("transformers")

    backbone = transformers.TimmWrapperConfig(
        architecture="test_convnext",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    vision = {
        "model_type": "edgetam_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 48, 32, 24],
        **_FEATURES,
    }
    config = transformers.EdgeTamVideoConfig(
        vision_config=vision,
        memory_attention_mlp_hidden_size=32,
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4,
        perceiver_resampler_num_latents_2d=4,
        perceiver_resampler_mlp_intermediate_size=16,
        perceiver_resampler_num_layers=1,
        **_promptable(64, 16),
    )
    folder = tmp_path_factory.mktemp("hub") / "small-edgetam"
    return _save(
        folder, _lively(transformers.EdgeTamVideoModel(config), 5), transformers.Sam2ImageProcessor, 64
    )


@pytest.fixture(scope="session")
def sam3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SAM 3 of 56 x 56 pixels: detector, tracker and what belongs to both, as its hub repository is."""
    transformers = pytest.importorskip("transformers")

    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "pretrain_image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
    }
    vision = {"model_type": "sam3_vision_model", "backbone_config": backbone, **_FEATURES}
    small = {"hidden_size": 128, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 32,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
    }
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": text,
        "geometry_encoder_config": small,
        "detr_encoder_config": small,
        "detr_decoder_config": {**small, "num_queries": 8},
        "mask_decoder_config": {"hidden_size": 128, "num_attention_heads": 2},
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "memory_attention_feed_forward_hidden_size": 32,
        **_promptable(56, 14),
    }
    config = transformers.Sam3VideoConfig(
        detector_config=detector, tracker_config=tracker, low_res_mask_size=16
    )
    folder = tmp_path_factory.mktemp("hub") / "small-sam3"
    return _save(folder, _lively(transformers.Sam3VideoModel(config), 3), transformers.Sam3ImageProcessor, 56)
