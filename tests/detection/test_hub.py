"""Models from a hub: a stand-in hub server on this machine, and every way it can fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import detectors
from apps.cli import main
from vis import refiners
from vis.errors import CheckpointError, DependencyError, WeightsError
from vis.video import VideoWriter
from vis.weights import hub
from vis.weights.table import HUB_MODELS, HubModel

REVISION = "0123456789abcdef0123456789abcdef01234567"


class StandInHub:
    """Answers as a hub does for the repository ``toy/model``: listing, then files with their checksums."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.gated = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def answer(self, body: bytes, kind: str, headers: dict[str, str]) -> None:
                self.send_response(200)
                for name, value in {
                    "Content-Type": kind,
                    "Content-Length": str(len(body)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path.startswith("/api/models/toy/model"):
                    listing = {
                        "id": "toy/model",
                        "sha": REVISION,
                        "private": False,
                        "disabled": False,
                        "gated": False,
                        "downloads": 0,
                        "likes": 0,
                        "tags": [],
                        "siblings": [{"rfilename": name} for name in server.files],
                    }
                    if "/tree/" in path:
                        listing = [
                            {
                                "type": "file",
                                "path": name,
                                "size": len(data),
                                "oid": hashlib.sha1(data).hexdigest(),
                            }
                            for name, data in server.files.items()
                        ]
                    return self.answer(json.dumps(listing).encode(), "application/json", {})
                match = re.fullmatch(rf"/toy/model/resolve/(?:main|{REVISION})/(.+)", path)
                if match and server.gated:
                    self.send_response(403)
                    self.send_header("Content-Length", "0")
                    self.send_header("X-Error-Code", "GatedRepo")
                    self.end_headers()
                    return None
                if match and match[1] in server.files:
                    data = server.files[match[1]]
                    if self.command == "GET":
                        server.fetched.append(match[1])
                    etag = f'"{hashlib.sha256(data).hexdigest()}"'
                    headers = {"ETag": etag, "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
                    return self.answer(data, "application/octet-stream", headers)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.send_header("X-Error-Code", "EntryNotFound" if match else "RepoNotFound")
                self.end_headers()
                return None

            do_HEAD = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stand_in(monkeypatch, tmp_path, mask2former_folder):
    server = StandInHub()
    server.files = {file.name: file.read_bytes() for file in mask2former_folder.iterdir()}
    server.files["README.md"] = b"never needed"
    server.files["pytorch_model.bin"] = b"a pickle, not needed beside safetensors"
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("VISTUBES_OFFLINE", raising=False)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Nothing of these tests may touch, or profit from, the user's hub cache; and the hub may be asked.

    Where the page was imported first, it has told the library to stay offline.
    """
    import functools

    import huggingface_hub

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    download = functools.partial(huggingface_hub.snapshot_download, cache_dir=tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)


@pytest.mark.slow
def test_a_model_comes_from_the_hub_once_and_then_from_its_cache(stand_in, film, monkeypatch):
    first = detectors.create("mask2former", weights="toy/model", device="cpu")
    assert set(stand_in.fetched) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert list(first.weights_sha256) == ["toy/model/model.safetensors"]
    digest = hashlib.sha256(stand_in.files["model.safetensors"]).hexdigest()
    assert list(first.weights_sha256.values()) == [digest]
    stand_in.close()
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    second = detectors.create("mask2former", weights="toy/model", device="cpu")
    for one, other in zip(first.detect(film(2)), second.detect(film(2)), strict=True):
        assert one.scores.tolist() == other.scores.tolist()


def test_pickled_weights_are_fetched_only_where_there_are_no_others(stand_in, tmp_path):
    del stand_in.files["model.safetensors"]
    folder = hub.checkpoint_folder("toy/model")
    assert (folder / "pytorch_model.bin").is_file()
    assert "README.md" not in stand_in.fetched


def test_a_missing_model_names_the_command(stand_in):
    with pytest.raises(WeightsError, match=r"run `hf download toy/other`"):
        detectors.create("mask2former", weights="toy/other")


def test_a_model_without_its_preprocessing_is_refused(stand_in):
    del stand_in.files["preprocessor_config.json"]
    with pytest.raises(CheckpointError, match="lacks the configuration of its preprocessing"):
        detectors.create("mask2former", weights="toy/model", device="cpu")


def test_offline_without_the_model_names_the_command(stand_in, monkeypatch):
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"With a network run `hf download toy/model`"):
        detectors.create("mask2former", weights="toy/model")
    assert stand_in.fetched == []


def test_no_server_names_the_command(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"`hf download toy/model`"):
        hub.checkpoint_folder("toy/model")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "model", "weights/model.pth"])
def test_a_path_that_is_not_there_is_never_asked_of_a_hub(name):
    with pytest.raises(WeightsError, match="no folder"):
        hub.checkpoint_folder(name)


@pytest.mark.parametrize(
    "name", ["mask2former", "mask2former-video", "videomt", "rfdetr-seg", "text", "eomt", "dfine"]
)
def test_without_transformers_every_adapter_says_what_to_install(name, monkeypatch, tmp_path):
    import sys

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    settings = {"text": "dog"} if name == "text" else {}
    with pytest.raises(
        DependencyError, match=r"needs the package transformers: run `pip install -U 'vis-tubes\[models\]'`"
    ):
        detectors.create(name, weights=tmp_path, **settings)


def test_a_package_that_is_too_old_says_what_to_install():
    with pytest.raises(DependencyError, match="needs the package transformers"):
        hub.require("transformers", "ModelOfNextYear")


@pytest.fixture
def mask_model(stand_in, monkeypatch, sam2_folder):
    """A mask model of the table whose repository the stand-in hub serves."""
    stand_in.files = {file.name: file.read_bytes() for file in sam2_folder.iterdir()}
    monkeypatch.setitem(HUB_MODELS, "toy", HubModel("toy", "sam2", "toy/model", "Apache-2.0", "toy"))
    return stand_in


def test_a_mask_model_comes_from_the_hub(mask_model):
    made = refiners.create("toy", device="cpu")
    assert set(mask_model.fetched) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert made.describe()["size"] == "toy"
    assert list(refiners.checksums("toy")) == ["toy/model/model.safetensors"]
    assert refiners.checksums("toy") == made.weights_sha256


def test_gated_weights_name_the_terms_and_the_commands(mask_model):
    mask_model.gated = True
    with pytest.raises(
        WeightsError, match=r"https://huggingface.co/toy/model, then run `hf auth login` and `hf download toy"
    ):
        refiners.create("toy", device="cpu")


@pytest.mark.parametrize("name", HUB_MODELS)
def test_mask_models_that_are_not_there_end_with_the_command(name, stand_in, tmp_path, monkeypatch, capsys):
    with VideoWriter(tmp_path / "clip.mp4", (32, 32), 10.0) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    assert main(["run", "clip.mp4", "--detector", "none", "--model", name, "--out", "out"]) == 4
    assert f"`hf download {HUB_MODELS[name].repository}`" in capsys.readouterr().err
