"""A key twice in an object, however the file is read."""

from __future__ import annotations

import json
import zipfile

import pytest

from vis.errors import AnnotationError
from vis.formats.json_stream import items


@pytest.mark.parametrize("whole_bytes", [2**20, -1])
@pytest.mark.parametrize(
    "text", ['{"a": [], "a": []}', '{"a": [{"id": 1, "id": 1}]}', '[{"id": 1, "id": 2}]']
)
def test_a_key_twice_is_refused(tmp_path, text, whole_bytes):
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=r"f\.json: the key '(a|id)' is twice in"):
        list(items(path, ("a",), whole_bytes=whole_bytes))


@pytest.mark.parametrize("whole_bytes", [2**20, -1])
def test_a_byte_order_mark_is_passed_over(tmp_path, whole_bytes):
    path = tmp_path / "f.json"
    path.write_text('{"a": [1]}', encoding="utf-8-sig")
    assert list(items(path, ("a",), whole_bytes=whole_bytes)) == [("a", 1)]


def test_a_zip_that_is_damaged_or_locked_is_an_error(tmp_path):
    path = tmp_path / "results.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results.json", json.dumps([{"id": n} for n in range(50)]))
    good = path.read_bytes()
    assert len(list(items(path))) == 50
    data = good.index(b"results.json") + len("results.json")
    locked = bytearray(good)
    locked[6] |= 1  # the flag of an encrypted member, in its own header and in the directory
    locked[good.index(b"PK\x01\x02") + 8] |= 1
    version = bytearray(good)
    version[good.index(b"PK\x01\x02") + 6] = 95
    for broken in (good[:data] + b"\xff" * 20 + good[data + 20 :], bytes(locked), bytes(version), good[:-30]):
        path.write_bytes(broken)
        with pytest.raises(AnnotationError, match=r"results\.zip: cannot be read"):
            list(items(path))
