"""``vistubes models``: what a person and a program read."""

from __future__ import annotations

import argparse
import json

import pytest

from apps.verbs import models
from vis import weights
from vis.errors import UsageError
from vis.weights.table import Url


@pytest.fixture
def command():
    def run(*words: str) -> int:
        parser = argparse.ArgumentParser()
        models.configure(parser)
        return models.run(parser.parse_args(words))

    return run


@pytest.fixture
def toy(weight_of, file_server, payload, monkeypatch):
    """The only row of the table."""
    file_server.files["/a"] = payload
    toy = weight_of(Url(file_server.url + "/a"))
    monkeypatch.setattr("vis.weights.table.WEIGHTS", {"toy": toy})
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": toy})
    return toy


def test_list_shows_name_size_licence_and_whether_cached(command, toy, capsys):
    command("list")
    assert "toy" in (before := capsys.readouterr().out)
    assert "0.3 MB  -       CC0-1.0" in before
    weights.fetch(toy)
    command("list")
    assert "0.3 MB  yes     CC0-1.0" in capsys.readouterr().out


def test_list_of_the_real_table_needs_no_network(command, capsys):
    assert command("list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["weights"]
    assert [row["name"] for row in rows] == list(weights.WEIGHTS)
    assert not any(row["cached"] for row in rows)
    assert next(row for row in rows if row["name"] == "mobile-sam")["models"] == ["sam-tiny", "hq-tiny"]


def test_fetch_and_verify(command, toy, capsys):
    assert command("verify", "toy") == 1
    assert "not in the cache; `vistubes models fetch toy`" in capsys.readouterr().err
    assert command("fetch", "toy", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["weights"][0]["cached"] is True
    assert "toy: ready" in err
    command("fetch", "toy", "toy")
    assert capsys.readouterr().err.count("already in the cache") == 1
    assert command("verify") == 0
    weights.file_path(toy).write_bytes(b"damaged")
    assert command("verify") == 1
    assert "is damaged; `vistubes models fetch toy` gets it again" in capsys.readouterr().err


def test_fetch_from_a_file(command, toy, payload, tmp_path):
    own = tmp_path / "own.bin"
    own.write_bytes(payload)
    assert command("fetch", "toy", "--from", str(own)) == 0
    assert weights.cached(toy)


def test_one_file_is_one_name(command, tmp_path):
    with pytest.raises(UsageError, match="exactly one NAME; got 4"):
        command("fetch", "--from", str(tmp_path / "own.bin"))


def test_names_are_checked_before_anything_is_fetched(command, toy, file_server):
    with pytest.raises(UsageError, match="no weights named 'nonsense'"):
        command("fetch", "toy", "nonsense")
    assert file_server.requests == []
