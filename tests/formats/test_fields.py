"""Typed fields: what counts as a whole number, a text, a box; and that no value's error can fail itself."""

from __future__ import annotations

import json
import math

import pytest

from vis.errors import AnnotationError
from vis.formats import fields

HOSTILE = (
    *(None, True, "3", "", [1], [], {}, {"a": 1}, 1.5, -1, 10**400, 2**63, 1e308, math.inf, math.nan),
    *(json.loads("[" * 900 + "]" * 900), "x" * 10**6, [[1]] * 10**5, "\udcff", "\0"),
)


@pytest.mark.parametrize(("value", "number"), [(1, 1), (1.0, 1), (-0.0, 0), (2**53 - 1, 2**53 - 1)])
def test_whole_numbers_may_be_written_as_floats(value, number):
    got = fields.whole({"id": value}, "id", "f.json: row 3")
    assert (got, type(got)) == (number, int)


@pytest.mark.parametrize("value", [v for v in HOSTILE if v not in (-1,)])
def test_anything_else_is_no_id_and_the_error_names_file_entry_and_field(value):
    with pytest.raises(
        AnnotationError, match=r"^f\.json: row 3: expected a whole number as id, got"
    ) as caught:
        fields.whole({"id": value}, "id", "f.json: row 3")
    assert len(str(caught.value)) < 200


READERS = {
    fields.whole: int,
    fields.finite: float,
    fields.text: str,
    fields.rows: list,
    fields.flag: bool,
}


@pytest.mark.parametrize("value", HOSTILE)
def test_every_field_is_of_its_type_or_an_annotation_error(value):
    for read, kind in READERS.items():
        try:
            got = read({"k": value}, "k", "f.json")
        except AnnotationError as error:
            message = str(error)
        else:
            message = "f.json: "
            assert type(got) is kind
        assert message.startswith("f.json: ")
        if not isinstance(value, dict):
            with pytest.raises(AnnotationError, match=r"^f\.json: expected an object"):
                read(value, "k", "f.json")


def test_limits_and_defaults():
    row = {"n": 7, "none": None}
    assert fields.whole(row, "none", "f", None) is None
    assert fields.whole(row, "other", "f", 4) == 4
    with pytest.raises(AnnotationError, match="expected a whole number as n from 0 up to 6, got 7"):
        fields.whole(row, "n", "f", least=0, most=6)
    with pytest.raises(AnnotationError, match="expected a finite number as n from 0 up to 1, got 7"):
        fields.finite(row, "n", "f", least=0, most=1)
    assert fields.text(row, "n", "f") == "7"


def test_a_value_that_equals_the_default_is_checked():
    assert fields.whole({}, "n", "f", -1, least=0) == -1
    with pytest.raises(AnnotationError, match="from 0, got -1"):
        fields.whole({"n": -1}, "n", "f", -1, least=0)
    far = 2.5
    with pytest.raises(AnnotationError, match=r"up to 1, got 2\.5"):
        fields.finite({"n": far}, "n", "f", far, least=0, most=1)


@pytest.mark.parametrize(
    ("value", "sizes", "message"),
    [
        ([5, 0, 4, 1], False, "negative width"),
        ([5, 0, -1, 1], True, "negative width"),
        ([0, 0, 1], True, "four finite numbers"),
        ([0, 0, 1, True], False, "four finite numbers"),
        ([0, 0, 1, 10**400], False, "four finite numbers"),
        ([0, 0, 1, 10**60], False, "pixels away"),
        ("0011", False, "four finite numbers"),
    ],
)
def test_a_box_has_no_negative_size_and_lies_near(value, sizes, message):
    with pytest.raises(AnnotationError, match=message):
        fields.box(value, "f", sizes=sizes)


def test_a_box_of_no_size_is_a_box():
    assert fields.box([3, 4, 0, 0], "f", sizes=True) == (3, 4, 3, 4)


def test_what_is_kept_as_it_is_can_be_written_again():
    assert fields.plain({"a": [1, {"b": None}]}, "f") == {"a": [1, {"b": None}]}
    for value in (json.loads("[" * 900 + "]" * 900), {"a": [math.inf]}):
        with pytest.raises(AnnotationError, match=r"nested more than|too large"):
            fields.plain(value, "f: made_with")
