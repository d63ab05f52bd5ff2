"""``passion download`` and ``passion bundles``."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from passion_components.cli import app
from passion_components.hub.index import write_index

METADATA = {"version": "0.1.0", "name": "PASSION on RFNet, phantoms", "data_license": "free"}
EVALUATION = {
    "cases": 3,
    "subsets": {"t1": {"n": 3, "dice": {"WT": 0.25}}, "t2": {"n": 3, "dice": {"WT": 0.75}}},
}


@pytest.fixture
def dist(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PASSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PASSION_SOURCE", raising=False)
    folder = tmp_path / "dist"
    folder.mkdir()
    with zipfile.ZipFile(folder / "small_v0.1.0.zip", "w") as archive:
        archive.writestr("small/configs/metadata.json", json.dumps(METADATA))
        archive.writestr("small/models/evaluation.json", json.dumps(EVALUATION))
    write_index(folder, [folder / "small_v0.1.0.zip"])
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_was_downloaded_is_listed_with_its_facts(dist, tmp_path):
    assert run("bundles").output == f"in {tmp_path / 'home/bundles'}: none\n"
    fetched = run("download", "small", "--from", dist)
    assert f"written: {tmp_path / 'home/bundles/small'} (version 0.1.0)" in fetched.output
    assert "data licence: free" in fetched.output and "without weights" in fetched.output
    assert "there already" in run("download", "small", "--from", dist).output
    row = next(line for line in run("bundles").output.splitlines() if "small" in line)
    words = [word.strip() for word in row.strip("│").split("│")]
    assert words == ["small", "0.1.0", METADATA["name"], "no", "0.500 (n = 3)"]


def test_a_source_tells_what_can_be_had_also_by_the_environment(dist, monkeypatch):
    monkeypatch.setenv("PASSION_SOURCE", str(dist))
    listed = run("bundles").output
    assert f"from {dist}:" in listed and METADATA["name"] in listed
    assert run("download", "small").exit_code == 0


def test_a_damaged_bundle_does_not_hide_the_others(dist, tmp_path):
    run("download", "small", "--from", dist)
    damaged = tmp_path / "home/bundles/damaged/configs/metadata.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    listed = run("bundles")
    assert listed.exit_code == 0 and "small" in listed.stdout
    assert "warning: damaged: configs/metadata.json is damaged" in listed.stderr


def test_out_is_another_folder(dist, tmp_path):
    assert run("download", "small", "--from", dist, "--out", tmp_path / "here").exit_code == 0
    assert (tmp_path / "here/small/configs/metadata.json").is_file() and not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["small"], "no source named: give one with --from"),
        (["other", "--from", "DIST"], "has no bundle 'other'; it has: small"),
        (["../small", "--from", "DIST"], "has no bundle '../small'"),
        (["small", "--from", "nowhere"], "is no source of bundles"),
    ],
)
def test_what_cannot_be_had_is_told(dist, words, said):
    result = run("download", *(str(dist) if word == "DIST" else word for word in words))
    assert result.exit_code == 1 and said in str(result.exception)


def test_neither_command_waits_for_torch(dist):
    code = "import sys, passion_components.cli as cli; cli.app(sys.argv[1:], standalone_mode=False)"
    tail = "; assert not {'torch', 'monai', 'numpy'} & sys.modules.keys()"
    for words in (["bundles", "--from", str(dist)], ["download", "small", "--from", str(dist)]):
        done = subprocess.run([sys.executable, "-c", code + tail, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
