"""Which videos a batch finds, and what it calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.batch.inputs import find_items
from apps.batch.item import Item
from vis.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


def test_a_folder_is_searched_and_mirrored(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.mp4",
        "a.MOV",
        "day1/c.mkv",
        "frames/00000.jpg",
        "frames/00001.jpg",
        "notes.txt",
        ".hidden.mp4",
    )
    touch(tmp_path, ".git/x.mp4", "day1/poster.png")
    items, passed = find_items([str(tmp_path)])
    assert sorted(names(items)) == ["a", "b", "day1/c", "frames"]
    assert sorted(Path(p).name for p in passed) == ["notes.txt", "poster.png"]


def test_a_folder_of_images_is_a_video(tmp_path: Path) -> None:
    touch(tmp_path, "clip/0.png", "clip/1.png")
    items, passed = find_items([str(tmp_path / "clip")])
    assert names(items) == ["clip"]
    assert items[0].path == str(tmp_path / "clip")
    assert passed == []


def test_globs_lists_and_repeats(tmp_path: Path) -> None:
    touch(tmp_path, "a1.mp4", "a2.mp4", "deep/b.mp4")
    (tmp_path / "list.txt").write_text("# mine\n\na2.mp4\ndeep/b.mp4\n")
    items, _ = find_items([str(tmp_path / "a?.mp4"), str(tmp_path / "list.txt")])
    assert names(items) == ["a1", "a2", "b"]  # a2 is named twice and done once


def test_lists_of_other_programs_and_of_any_names(tmp_path: Path) -> None:
    name = b"clip\xff.mp4".decode("utf-8", "surrogateescape")
    touch(tmp_path, name, "b\u2028c.mp4")
    content = b"\xef\xbb\xbfclip\xff.mp4\r\nb\xe2\x80\xa8c.mp4\r\n"
    (tmp_path / "list.txt").write_bytes(content)
    items, _ = find_items([str(tmp_path / "list.txt")])
    assert [Path(item.path).name for item in items] == [name, "b\u2028c.mp4"]
    for line, message in (("none.mp4", "no such file"), ("x" * 300, "cannot be looked for")):
        (tmp_path / "list.txt").write_text(f"# mine\n{line}\n")
        with pytest.raises(InputError, match=rf"list\.txt: line 2: .*{message}"):
            find_items([str(tmp_path / "list.txt")])


def test_no_run_folder_lies_inside_another(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a/b.mp4", "a/b.mov", "c.mp4", "c.avi", "A.webm")
    items, _ = find_items([str(tmp_path)])
    found = names(items)
    assert len({name.casefold() for name in found}) == len(found) == 6
    assert sorted(found) == ["A.webm", "a.mp4", "a/b.mov", "a/b.mp4", "c.avi", "c.mp4"]
    for name in found:
        assert not any(
            other != name and other.casefold().startswith(name.casefold() + "/") for other in found
        )


def test_equal_names_from_two_places_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "x/clip.mp4", "y/clip.mp4", "z/batch.json.mp4")
    items, _ = find_items([str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "z")])
    assert names(items) == ["clip.mp4", "clip.mp4-2", "batch.json.mp4"]


def test_addresses_pass_unopened() -> None:
    items, _ = find_items(["s3://bucket/day/clip.mp4"])
    assert items == [Item("clip", "s3://bucket/day/clip.mp4")]


@pytest.mark.parametrize(
    ("text", "message"),
    [("nowhere.mp4", "no such file"), ("no*thing.mp4", "nothing fits"), ("empty", "no video in")],
)
def test_what_is_not_there_is_said(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_items([str(tmp_path / text)])


def test_lists_that_name_themselves_end(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("l.txt\n")
    with pytest.raises(InputError, match="lists within lists"):
        find_items([str(tmp_path / "l.txt")])
