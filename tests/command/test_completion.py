"""The verbs by task in ``vistubes --help``, and what the Tab key completes in a shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apps.cli import COMMAND_GROUPS, COMMANDS, main


def test_help_lists_every_verb_once_by_task_and_five_to_start_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    first, *_ = COMMAND_GROUPS.values()
    assert len(first) == 5
    assert sum(map(len, COMMAND_GROUPS.values())) == len(COMMANDS)
    for task, group in COMMAND_GROUPS.items():
        start = lines.index(f"{task}:") + 1
        assert [line.split()[0] for line in lines[start : start + len(group)]] == list(group)
    assert lines.index("options:") > lines.index(f"{list(COMMAND_GROUPS)[-1]}:")


def completed(script: Path, cases: list[tuple[str, ...]], folder: Path) -> list[set[str]]:
    """What bash offers for the last word of each case."""
    calls = "\n".join(
        f"COMP_WORDS=(vistubes {' '.join(words)} {'' if words[-1] else chr(39) * 2}); "
        f'COMP_CWORD={len(words)}; COMPREPLY=(); _shtab_vistubes; echo "${{COMPREPLY[*]}}"'
        for words in cases
    )
    done = subprocess.run(
        ["bash", "-c", f"source {script}\n{calls}"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_bash_completes_verbs_options_names_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab", reason="the package shtab makes the scripts")
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    assert main(["--print-completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "clip.mp4").touch()
    cases = {
        ("r",): {"run", "refine"},
        ("run", "--det"): {"--detector"},
        ("run", "--detector", "sa"): {"salient", "sam3"},
        ("run", "--preset", "q"): {"quick"},
        ("run", "cl"): {"clip.mp4"},
        ("refine", "--model", "hq-t"): {"hq-tiny", "hq-tiny-official"},
        ("follow", "--engine", "e"): {"edgetam"},
        ("eval", "tub"): {"tubes"},
        ("eval", "tubes", "--tr"): {"--truth"},  # options that are added when the verb is first used
    }
    assert completed(script, list(cases), tmp_path) == list(cases.values())


def test_every_shell_that_the_docs_name_has_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the package shtab makes the scripts")
    for shell in ("zsh", "fish", "tcsh"):
        assert main(["--print-completion", shell]) == 0
        script = capsys.readouterr().out
        assert "cutout" in script
        assert "camera-motion" in script
    assert main(["--print-completion", "csh"]) == 2
    assert "no such shell; choose one of bash, zsh" in capsys.readouterr().err


def test_without_its_package_the_way_to_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 4
    said = capsys.readouterr()
    assert not said.out
    assert "pip install 'vis-tubes[completion]'" in said.err
