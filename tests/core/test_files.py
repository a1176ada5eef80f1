"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vis import files
from vis.errors import InputError, OutputError
from vis.files import files_under, flushed_as_one, read_json, whole_file, write_json, write_text


def test_a_failing_block_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")

    def fail_halfway() -> None:
        with whole_file(path) as part:
            part.write_text("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_folder_is_made_and_the_file_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    write_text(path, "text")
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o400
    assert len(list(path.parent.iterdir())) == 1


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"disk is full; nothing was written"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of what is flushed, in order."""
    real, told = os.fsync, list[int]()

    def fsync(handle: int) -> None:
        told.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return told


def test_a_new_folder_is_flushed_as_one_at_its_end(tmp_path: Path, flushed: list[int]) -> None:
    folder, deep = tmp_path / "new", tmp_path / "new" / "deep"
    folder.mkdir()
    with flushed_as_one(folder):
        write_text(folder / "a.txt", "a")
        assert (folder / "a.txt").read_text() == "a"
        assert not flushed
        write_text(deep / "b.txt", "b")  # not of the folder itself: it may be read by whoever knows its name
        (folder / "c.bin").write_bytes(b"c")
        before = len(flushed)
        assert before == 2
    want = [folder, folder / "a.txt", folder / "c.bin", deep, deep / "b.txt"]
    assert sorted(flushed[before:]) == sorted(path.stat().st_ino for path in want)
    write_text(folder / "d.txt", "d")  # from now on as everywhere
    assert flushed[-2:] == [(folder / "d.txt").stat().st_ino, folder.stat().st_ino]


def test_a_disk_that_is_full_when_a_folder_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"), flushed_as_one(tmp_path):
        write_text(tmp_path / "a.txt", "a")
    with pytest.raises(KeyError), flushed_as_one(tmp_path):  # the block's own error goes before
        raise KeyError


def test_folders_are_flushed_when_there_are_no_threads_for_it(
    tmp_path: Path, flushed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    monkeypatch.setattr(files, "_flushers", lambda: ended)
    with flushed_as_one(tmp_path):
        write_text(tmp_path / "a.txt", "a")
    assert sorted(flushed) == sorted(path.stat().st_ino for path in (tmp_path, tmp_path / "a.txt"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_flushes_too(tmp_path: Path) -> None:
    with flushed_as_one(tmp_path):  # starts threads, which a fork does not take along
        for name in "abcd":
            write_text(tmp_path / name, name)
    (tmp_path / "new").mkdir()
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            with flushed_as_one(tmp_path / "new"):  # one flush, which an idle thread would get
                pass
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_writing_below_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_json_round_trip_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    write_json(path, value)
    assert read_json(path) == value
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, float("nan"))
    assert json.loads(path.read_text()) == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": [1, 2', r"not valid JSON at line 1, column 12.*truncated"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b"\xff\xfe\x00", "not JSON text"),
        (b"[" * 100_000, "not JSON text|not valid JSON"),
        (b"", "not valid JSON"),
        (b"[" + b"9" * 5000 + b"]", "a whole number of thousands of digits"),
        (b'{"a": {"id": 1, "id": 2}}', "the key 'id' is twice in one object"),
    ],
)
def test_broken_json_names_file_and_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"broken\.json: .*({message})"):
        read_json(path)


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    value = {"name": "clip-\udcff.mp4", "é": "\U0001f3a5"}
    write_json(tmp_path / "name.json", value)
    assert b"\\udcff" in (tmp_path / "name.json").read_bytes()
    assert read_json(tmp_path / "name.json") == value


def test_missing_and_oversized_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "missing.json")
    write_json(tmp_path / "big.json", list(range(100)))
    with pytest.raises(InputError, match="over the limit of 10"):
        read_json(tmp_path / "big.json", limit_bytes=10)


def test_files_under_follows_linked_folders_and_ends_at_loops(tmp_path: Path) -> None:
    data, tree = tmp_path / "data", tmp_path / "tree"
    (data / "dog").mkdir(parents=True)
    (data / "dog" / "0.png").touch()
    (tree / "cat").mkdir(parents=True)
    (tree / "cat" / "0.png").touch()
    (tree / "dog").symlink_to(data / "dog")
    (tree / "dog-again").symlink_to(data / "dog")
    (tree / "cat" / "loop").symlink_to(tree)
    found = [path.relative_to(tree).as_posix() for path in files_under(tree)]
    assert found == ["cat/0.png", "dog/0.png", "dog-again/0.png"]
