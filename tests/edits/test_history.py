"""Undo, redo, the file, and any random sequence of edits."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vis.edits import (
    Add,
    Brush,
    Correct,
    Delete,
    Follow,
    History,
    Merge,
    Relabel,
    Split,
    Swap,
    fingerprint,
    read,
    replay,
    sealed,
    write,
)
from vis.errors import AnnotationError, PromptError
from vis.formats import tubes as tubes_format

ids = st.integers(1, 6)
frames = st.sampled_from(range(0, 20, 2))
points = st.tuples(st.integers(0, 39).map(float), st.integers(0, 23).map(float))
boxes = st.tuples(st.integers(0, 20), st.integers(0, 10), st.integers(21, 39), st.integers(11, 23)).map(
    lambda box: tuple(map(float, box))
)
edits = st.one_of(
    st.builds(
        lambda tube, frame, p, inside: Correct(tube, frame, (p,), (inside,)),
        *(ids, frames, points, st.integers(0, 1)),
    ),
    st.builds(lambda tube, frame, box: Correct(tube, frame, box=box), ids, frames, boxes),
    st.builds(lambda tube, frame, box: Add(tube, frame, "new", box=box), ids, frames, boxes),
    st.builds(Brush, ids, frames, st.tuples(points, points), st.floats(0.5, 4), st.booleans()),
    st.builds(Follow, ids, frames, frames, frames),
    st.builds(Delete, ids, st.none() | frames, st.none() | frames),
    st.builds(Merge, ids, ids),
    st.builds(Split, ids, frames, ids),
    st.builds(Swap, ids, ids, frames),
    st.builds(Relabel, ids, st.sampled_from(["cat", "bird"])),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(edits, max_size=8), steps=st.lists(st.booleans(), max_size=8))
def test_any_edits_undo_redo_and_replay(result, decode, tmp_path, wanted, steps):
    history = History(result)
    seen = [fingerprint(result)]
    for edit in wanted:
        try:
            history.do(edit, decode=decode)
        except (AnnotationError, PromptError):
            continue
        seen.append(fingerprint(history.result))
    done = len(decode.calls)

    at = len(seen) - 1
    for back in steps:
        at = max(0, at - 1) if back else min(len(seen) - 1, at + 1)
        assert fingerprint(history.undo() if back else history.redo()) == seen[at]
        assert len(history.edits) == at
    assert len(decode.calls) == done  # stepping computes nothing

    write(tmp_path / "edits.json", result, history.edits, model="stub")
    loaded = read(tmp_path / "edits.json")
    loaded.check_base(result)
    assert loaded.edits == history.edits
    tubes_format.write(tmp_path / "base.json", result)
    again = replay(tubes_format.read(tmp_path / "base.json"), loaded.edits, decode=decode)
    for name, value in (("live", history.result), ("again", again)):
        tubes_format.write(tmp_path / f"{name}.json", sealed(value, result, history.edits, "stub"))
    assert (tmp_path / "live.json").read_bytes() == (tmp_path / "again.json").read_bytes()


def test_a_new_edit_after_undo_forgets_what_was_undone(result, decode):
    history = History(result)
    history.do(Delete(1), decode=decode)
    history.do(Delete(2), decode=decode)
    history.undo()
    assert history.undone == (Delete(2),)
    history.do(Delete(3), decode=decode)
    assert history.edits == (Delete(1), Delete(3))
    assert history.undone == ()
    assert [tube.id for tube in history.result.tubes] == [2]


def test_edits_of_another_result_are_refused(result, decode, tmp_path):
    history = History(result)
    history.do(Delete(1), decode=decode)
    write(tmp_path / "edits.json", history.base, history.edits)
    read(tmp_path / "edits.json").check_base(result)
    with pytest.raises(AnnotationError, match="made on another result"):
        read(tmp_path / "edits.json").check_base(history.result)


def test_a_result_without_edits_is_not_marked(result, decode):
    assert sealed(result, result, (), "stub") is result
    note = sealed(result, result, (Delete(1),), "stub").made_with["edits"]
    assert note["count"] == 1
    assert note["base_sha256"] == fingerprint(result)


GOOD = {"op": "correct", "tube": 1, "frame": 2, "points": [[1, 2]], "point_labels": [1]}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("delete", "expected an object whose 'op' is one of correct, brush"),
        ({"op": "explode", "tube": 1}, "expected an object whose 'op'"),
        ({"op": "delete"}, "missing tube"),
        ({"op": "delete", "tube": 1, "path": "/etc"}, "unknown path"),
        ({"op": "delete", "tube": 0}, "ids start at 1"),
        ({"op": "delete", "tube": True}, "expected a whole number"),
        ({"op": "delete", "tube": 2**53}, "expected a whole number"),
        ({"op": "delete", "tube": 1.5}, "expected a whole number"),
        ({"op": "delete", "tube": [1]}, "expected a whole number"),
        ({"op": "delete", "tube": 1, "first": 2**31}, "expected a whole number"),
        ({"op": ["delete"], "tube": 1}, "expected an object whose 'op'"),
        ({**GOOD, "points": [[1, 10**400]]}, "expected a number"),
        ({**GOOD, "point_labels": [[1]]}, "1 \\(inside\\) and 0 \\(outside\\)"),
        ({**GOOD, "points": [[1, 2, 3]]}, "points \\[x, y\\]"),
        ({**GOOD, "points": [[1, 1e300]]}, "expected a number"),
        ({**GOOD, "point_labels": [2]}, "1 \\(inside\\) and 0 \\(outside\\)"),
        ({**GOOD, "point_labels": []}, "1 points but 0 point_labels"),
        ({**GOOD, "points": [], "point_labels": []}, "neither points nor a box"),
        ({"op": "correct", "tube": 1, "frame": 2, "box": [5, 5, 5, 9]}, "is empty"),
        ({**GOOD, "candidate": "half"}, "expected one of whole, part, subpart"),
        ({**GOOD, "candidate": ["part"]}, "expected one of whole, part, subpart"),
        ({**GOOD, "candidate": "part", "point_labels": [0]}, "'part' is of a single click"),
        ({**GOOD, "candidate": "part", "box": [1, 1, 5, 5]}, "'part' is of a single click"),
        (
            {**GOOD, "candidate": "part", "points": [[1, 2], [3, 4]], "point_labels": [1, 1]},
            "'part' is of a single click",
        ),
        ({"op": "brush", "tube": 1, "frame": 2, "stroke": [], "radius": 1}, "no point"),
        ({"op": "brush", "tube": 1, "frame": 2, "stroke": [[1, 1]], "radius": 0}, "over 0"),
        ({"op": "relabel", "tube": 1, "label": "a\nb"}, "printable"),
        ({"op": "relabel", "tube": 1, "label": "x" * 81}, "printable"),
    ],
)
def test_an_edit_from_outside_is_checked(tmp_path, edit, message):
    value = {
        "format": "vis-tubes-edits",
        "format_version": 1,
        "base_sha256": "",
        "model": None,
        "edits": [edit],
    }
    (tmp_path / "e.json").write_text(json.dumps(value))
    with pytest.raises(AnnotationError, match=f"e.json: edit 1.*{message}"):
        read(tmp_path / "e.json")


def test_numbers_of_edits_may_be_written_as_floats_and_ids_are_those_of_any_result(tmp_path, result):
    edits = [Delete(2**53 - 1, 4, None), Correct(1, 2, ((1.0, 2.0),), (1,))]
    write(tmp_path / "e.json", result, edits)
    text = (tmp_path / "e.json").read_text().replace('"first": 4', '"first": 4.0')
    (tmp_path / "e.json").write_text(text)
    assert list(read(tmp_path / "e.json").edits) == edits


def test_a_name_that_is_no_utf8_has_a_fingerprint(result):
    from dataclasses import replace

    strange = replace(result, video=replace(result.video, name="clip\udcff"))
    assert fingerprint(strange) != fingerprint(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not an edits file"),
        ({"format_version": 2}, "this program reads 1"),
        ({"edits": {}}, "must be a list"),
        ({"base_sha256": 3}, "must be text"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, change, message):
    value = {"format": "vis-tubes-edits", "format_version": 1, "base_sha256": "", "model": None, "edits": []}
    (tmp_path / "e.json").write_text(json.dumps({**value, **change}))
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path / "e.json")


def test_a_file_written_by_hand_needs_no_checksum_and_says_so(tmp_path, result, decode, capsys):
    from apps.cli import main
    from vis.errors import AnnotationWarning
    from vis.formats import tubes

    value = {"format": "vis-tubes-edits", "format_version": 1, "edits": [{"op": "delete", "tube": 1}]}
    value["edits"][0] |= {"first": None, "last": None}
    (tmp_path / "e.json").write_text(json.dumps(value))
    file = read(tmp_path / "e.json")
    assert (file.base_sha256, file.model) == (None, None)
    with pytest.warns(AnnotationWarning, match=f"nothing was checked.*{fingerprint(result)}"):
        file.check_base(result, "e.json")
    tubes.write(tmp_path / "tubes.json", result)
    assert main(["edit", str(tmp_path / "tubes.json"), "--base"]) == 0
    base = capsys.readouterr().out.strip()
    assert base == fingerprint(result)
    words = [
        "edit",
        str(tmp_path / "tubes.json"),
        str(tmp_path / "e.json"),
        "--out",
        str(tmp_path / "out.json"),
    ]
    assert main(words) == 0
    assert "nothing was checked" in capsys.readouterr().err
    assert 1 not in [tube.id for tube in tubes.read(tmp_path / "out.json").tubes]
    (tmp_path / "e.json").write_text(json.dumps({**value, "base_sha256": base}))
    assert main([*words, "--overwrite"]) == 0
    assert "nothing was checked" not in capsys.readouterr().err
    assert main(words[:2]) == 2
    assert "give the edits.json" in capsys.readouterr().err
