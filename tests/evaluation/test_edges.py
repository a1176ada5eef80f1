"""Edge maps: thinning and matching by closed forms and brute force, the reference's counts, the files, the command."""

from __future__ import annotations

import json
import zlib
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from apps.cli import main
from vis.errors import AnnotationError, InputError
from vis.evaluation.edges import EdgeCounts, count_edges, edge_scores, edge_thresholds, read_edges
from vis.formats.bsds import list_boundaries, read_boundaries


@pytest.fixture(scope="module")
def maps() -> ModuleType:
    """The maps of the stored counts."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("edge_maps", Path(__file__).with_name("edge_maps.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_truth(path, boundaries, *, compressed=True, field="Boundaries"):
    """A file as BSDS500 publishes them."""
    cells = np.empty((1, len(boundaries)), object)
    for k, boundary in enumerate(boundaries):
        cells[0, k] = {"Segmentation": np.ones(np.shape(boundary), np.uint16), field: boundary}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells}, do_compression=compressed)


def write_map(path, edges, bits=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint16 if bits == 16 else np.uint8
    Image.fromarray(np.rint(edges * (2**bits - 1)).astype(kind)).save(path)


# ---------------------------------------------------------------- thinning


def check_counts(wanted, thresholds, edges, people):
    """Within 0.001 of the pixels of one of the reference's three runs, which differ by up to 0.002 themselves."""
    counts = count_edges(edges, people, np.array(thresholds))
    np.testing.assert_array_equal(counts.truth, wanted["truth"])
    np.testing.assert_allclose(
        counts.found, wanted["found"], rtol=0.001
    )  # it may end its thinning a pass early
    for name, of in (("matched_truth", "truth"), ("matched_found", "found")):
        nearest = np.abs(np.array(wanted[name]) - getattr(counts, name)).min(axis=0)
        assert (nearest <= 0.001 * np.array(wanted[of])).all(), name
    # the reference misses some pairs, and finds none too many
    assert (counts.matched_truth >= np.max(wanted["matched_truth"], axis=0)).all()


@pytest.fixture(scope="module")
def stored(maps):
    from pathlib import Path

    return json.loads(Path(maps.__file__).with_name("edge_counts.json").read_text())


@pytest.mark.parametrize("seed", [1, 2])
def test_counts_are_the_reference_implementations(maps, stored, seed):
    check_counts(stored["maps"][f"drawn {seed}"], stored["thresholds"], *maps.drawn(seed))


@pytest.mark.slow
@pytest.mark.shared_data
def test_counts_of_canny_on_photographs_are_the_reference_implementations(maps, stored, shared_data):
    for name in maps.BSDS:
        edges, people = maps.canny(shared_data / "bsds500", name)
        wanted = stored["maps"][name]
        if maps.digest(edges) != wanted["map_sha256"]:
            pytest.skip(f"{name}: another Canny map than the stored counts are of: another OpenCV or Pillow")
        check_counts(wanted, stored["thresholds"], edges, people)


def test_what_is_exactly_right_scores_one_and_what_is_too_far_nothing():
    truth = np.zeros((60, 80), bool)
    truth[30, 10:70] = True
    thresholds = edge_thresholds(5)
    exact = edge_scores([count_edges(truth.astype(float), [truth, truth], thresholds)], thresholds)
    assert (exact.ods.f, exact.ois.f, exact.r50) == (1, 1, 1)
    far = edge_scores([count_edges(np.roll(truth, 2, axis=0).astype(float), [truth], thresholds)], thresholds)
    assert (far.ods.f, far.ois.f, far.ap, far.r50) == (0, 0, 0, 0)
    near = edge_scores(
        [count_edges(np.roll(truth, 1, axis=0).astype(float), [truth], thresholds, max_distance=0.01)],
        thresholds,
    )
    assert near.ods.f == 1


def test_a_pixel_is_right_when_any_annotator_drew_it_and_recall_counts_all_of_them():
    a, b = np.zeros((2, 60, 80), bool)
    a[20, 10:70] = b[40, 10:40] = True
    counts = count_edges((a | b).astype(float), [a, b], np.array([0.5]))
    assert counts.matched_found[0] == counts.found[0] == 90
    assert (counts.matched_truth[0], counts.truth[0]) == (90, 90)
    counts = count_edges(a.astype(float), [a, b], np.array([0.5]))
    assert (counts.matched_found[0], counts.found[0]) == (60, 60)
    assert (counts.matched_truth[0], counts.truth[0]) == (60, 90)


def test_scores_by_hand():
    """Two images; recall 1, 1/2, 1/4 and precision 1/4, 1/2, 1 when they are one."""
    thresholds = np.array([0.2, 0.4, 0.6])
    one = EdgeCounts(*np.array([[40, 30, 10], [40, 40, 40], [30, 30, 10], [100, 30, 10]]))
    other = EdgeCounts(*np.array([[40, 10, 10], [40, 40, 40], [10, 10, 10], [60, 50, 10]]))
    scores = edge_scores([one, other], thresholds)
    np.testing.assert_allclose(scores.recall, [1, 0.5, 0.25])
    np.testing.assert_allclose(scores.precision, [0.25, 0.5, 1])
    assert scores.r50 == 0.5
    # recall r between the points: precision is linear from (1/4, 1) to (1/2, 1/2) to (1, 1/4); below 1/4 it is 0
    r = np.arange(25, 101) / 100
    assert scores.ap == pytest.approx(np.where(r < 0.5, 1.5 - 2 * r, 0.75 - 0.5 * r).sum() / 100)
    # F between thresholds: at recall .5 + s/2, precision .5 - s/4 it is highest at s = 0 or where it exceeds .5
    shares = np.linspace(0, 1, 100)
    f = [2 * (1 - s / 2) * (0.25 + s / 4) / (1.25 - s / 4) for s in shares]
    f += [2 * (0.5 - s / 4) * (0.5 + s / 2) / (1 + s / 4) for s in shares]
    assert scores.ods.f == pytest.approx(max(f))
    # each at its own best: image one at 0.4 (recall 3/4, precision 1), the other at 0.6 (1/4, 1)
    assert scores.ois.recall == pytest.approx(40 / 80)
    assert scores.ois.precision == 1
    assert scores.ois.threshold == pytest.approx(0.5)


def test_one_threshold_and_nothing_at_all_have_scores():
    empty = EdgeCounts(*np.zeros((4, 3), np.int64))
    scores = edge_scores([empty], edge_thresholds(3))
    assert (scores.ods.f, scores.ois.f, scores.ap, scores.r50) == (0, 0, 0, 0)
    one = EdgeCounts(*np.array([[8], [10], [6], [8]]))
    scores = edge_scores([one], edge_thresholds(1))
    assert scores.ods.threshold == 0.5
    assert (scores.ods.recall, scores.ods.precision, scores.ap, scores.r50) == (0.8, 0.75, 0, 0.8)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("compressed", [False, True])
def test_truth_in_the_published_layout_reads_back(tmp_path, compressed):
    people = [np.random.default_rng(k).random((7, 9)) < 0.3 for k in range(3)]
    kinds = (np.uint8, np.bool_, np.float64)
    write_truth(
        tmp_path / "a.mat", [p.astype(t) for p, t in zip(people, kinds, strict=True)], compressed=compressed
    )
    for have, want in zip(read_boundaries(tmp_path / "a.mat"), people, strict=True):
        np.testing.assert_array_equal(have, want)


def test_truth_of_sparse_matrices_reads_too(tmp_path):
    from scipy.sparse import csc_matrix

    person = np.random.default_rng(0).random((7, 9)) < 0.3
    write_truth(tmp_path / "a.mat", [csc_matrix(person.astype(float))])
    np.testing.assert_array_equal(read_boundaries(tmp_path / "a.mat")[0], person)


def bomb():
    """A header, and a part that inflates to 2 MiB."""
    packed = zlib.compress(bytes(2**21))
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + np.array([15, len(packed)], "<u4").tobytes() + packed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b""), "shorter than its header"),
        (lambda p: p.write_bytes(b"\x89HDF" + bytes(600)), "-v7.3"),
        (
            lambda p: p.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + bytes(range(200))),
            "can be read",
        ),
        (lambda p: p.write_bytes(bomb()), "holds over 1,048,576 bytes"),
        (lambda p: savemat(p, {"other": 1}), "expected a cell array 'groundTruth'"),
        (lambda p: savemat(p, {"groundTruth": np.ones((3, 3))}), "expected a cell array 'groundTruth'"),
        (lambda p: write_truth(p, [np.ones((3, 3))], field="Lines"), "annotator 1: .* field 'Boundaries'"),
        (lambda p: write_truth(p, [np.ones((3, 3)), "x"]), "annotator 2: 'Boundaries' is no matrix"),
        (lambda p: write_truth(p, [np.ones((3, 3, 3))]), "annotator 1: 'Boundaries' is no matrix"),
        (lambda p: write_truth(p, [np.ones((3, 3)), np.ones((3, 4))]), "different sizes"),
    ],
)
def test_truth_that_is_none_is_told(tmp_path, make, message, monkeypatch):
    monkeypatch.setattr("vis.formats.bsds.MAX_BYTES", 2**20)
    path = tmp_path / "a.mat"
    make(path)
    with pytest.raises(AnnotationError, match=message) as told:
        read_boundaries(path)
    assert str(told.value).startswith(str(path))


def test_truncated_truth_is_told_wherever_it_ends(tmp_path):
    write_truth(tmp_path / "a.mat", [np.eye(20)])
    data = (tmp_path / "a.mat").read_bytes()
    for end in range(0, len(data) - 1, 7):
        (tmp_path / "b.mat").write_bytes(data[:end])
        with pytest.raises(AnnotationError, match=r"b\.mat: "):
            read_boundaries(tmp_path / "b.mat")


def test_folders_without_truth_are_told(tmp_path):
    with pytest.raises(AnnotationError, match=r"no such folder; give the \.mat files of one split"):
        list_boundaries(tmp_path / "none")
    write_truth(tmp_path / "test" / "a.mat", [np.eye(3)])
    with pytest.raises(AnnotationError, match=r"holds no .mat file; give one split of it, as .*test"):
        list_boundaries(tmp_path)


@pytest.mark.parametrize("bits", [8, 16])
def test_maps_of_8_and_16_bits_are_shares_of_their_range(tmp_path, bits):
    edges = np.linspace(0, 1, 12).reshape(3, 4)
    write_map(tmp_path / "a.png", edges, bits)
    np.testing.assert_allclose(read_edges(tmp_path / "a.png"), edges, atol=0.51 / (2**bits - 1))


def test_maps_that_are_none_are_told(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"colour\.png: expected a grey image of 8 or 16 bits"):
        read_edges(tmp_path / "colour.png")
    with pytest.raises(InputError, match=r"text\.png: not an image that can be read"):
        read_edges(tmp_path / "text.png")


# ---------------------------------------------------------------- the command


@pytest.fixture
def tiny_set(tmp_path):
    """Three images in the published layout, upright and lying, and maps that are right, shifted and half there."""
    truth, results = tmp_path / "groundTruth" / "test", tmp_path / "maps"
    for k, name in enumerate(("100", "20", "3")):
        line = np.zeros((48, 64), bool)
        line[20 + k, 8:56] = True
        line = line.T if k == 1 else line
        write_truth(truth / f"{name}.mat", [line, line])
        soft = 0.8 * np.roll(line, k // 2 * 9, axis=0) + 0.3 * np.roll(line, 20, axis=k % 2)
        write_map(results / f"{name}.png", soft)
    return truth, results


@pytest.fixture
def run(capsys):
    def call(*words):
        capsys.readouterr()
        code = main(["eval", "edges", *map(str, words)])
        out, err = capsys.readouterr()
        return code, (json.loads(out) if code == 0 and "--json" in words else out), err

    return call


def options(tiny_set, *more):
    truth, results = tiny_set
    return ("--truth", truth, "--results", results, "--thresholds", 9, "--jobs", 1, *more)


def test_the_table_and_the_json_are_the_scores(run, tiny_set):
    code, answer, err = run(*options(tiny_set, "--json"))
    assert code == 0
    thresholds = edge_thresholds(9)
    truth, results = tiny_set
    counts = [
        count_edges(read_edges(results / f"{name}.png"), read_boundaries(truth / f"{name}.mat"), thresholds)
        for name in ("100", "20", "3")
    ]
    scores = edge_scores(counts, thresholds)
    assert (answer["ods"], answer["ois"], answer["ap"], answer["r50"]) == (
        scores.ods.f, scores.ois.f, scores.ap, scores.r50,
    )  # fmt: skip
    assert answer["per_image"]["100"]["f"] == 1
    assert answer["per_image"]["3"]["f"] == 0
    assert list(answer["per_image"]) == ["100", "20", "3"]
    assert "3 images, 9 thresholds" in err
    _, out, _ = run(*options(tiny_set))
    assert f"{scores.ods.f:.4f}" in out


def test_a_stopped_run_goes_on_and_a_changed_map_is_counted_anew(run, tiny_set, tmp_path, monkeypatch):
    counted = []

    def counting(edges, *rest, **options):
        if len(counted) == stop:
            raise KeyboardInterrupt
        counted.append(edges.shape)
        return count_edges(edges, *rest, **options)

    monkeypatch.setattr("apps.verbs.evaluate_edges.count_edges", counting)
    words = options(tiny_set, "--report", tmp_path / "report", "--json")
    stop = 2
    assert run(*words)[0] == 130
    assert not (tmp_path / "report" / "report.json").exists()
    stop = -1
    code, answer, _ = run(*words)
    assert code == 0
    assert len(counted) == 3
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == answer
    write_map(tiny_set[1] / "3.png", np.zeros((48, 64)))
    (tmp_path / "report" / "counts" / "20.json").write_text('{"key": ')
    assert run(*words)[1]["per_image"]["3"]["f"] == 0
    assert len(counted) == 5
    run(*words, "--max-distance", 0.05)
    assert len(counted) == 8


def test_the_report_has_tables_and_a_curve(run, tiny_set, tmp_path):
    _, out, _ = run(*options(tiny_set, "--report", tmp_path / "report"))
    assert "report.html" in out
    folder = tmp_path / "report"
    assert (folder / "images.csv").read_text().splitlines()[0] == "image,threshold,recall,precision,f"
    assert len((folder / "curve.csv").read_text().splitlines()) == 10
    page = (folder / "report.html").read_text()
    assert page.count("<polyline") == 1
    assert "http" not in page


def test_workers_count_the_same(run, tiny_set):
    alone, together = (run(*options(tiny_set)[:-1], jobs, "--json")[1] for jobs in (1, 2))
    assert alone == together


def test_what_is_missing_or_does_not_fit_is_told(run, tiny_set):
    truth, results = tiny_set
    write_map(results / "20.png", np.zeros((48, 64)))
    code, _, err = run(*options(tiny_set))
    assert code == 3
    assert "20.png" in err
    assert "an edge map of size (48, 64) (height, width), boundaries of (64, 48)" in err
    (results / "20.png").unlink()
    code, _, err = run(*options(tiny_set))
    assert code == 3
    assert "no edge map for 1 of 3 images, 20.png first; make them with 'vistubes edges" in err
    code, _, err = run("--truth", truth.parent, "--results", results)
    assert code == 3
    assert "give one split of it" in err
