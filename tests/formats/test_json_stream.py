"""A key twice in an object, however the file is read."""

from __future__ import annotations

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
