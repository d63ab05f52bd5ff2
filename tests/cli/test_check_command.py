import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from passion_components.cli import app


@pytest.fixture(autouse=True)
def plain_narrow_terminal(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "60")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    result = run("phantom", "brain", "--cases", 4, "--out", folder, "--size", "16,16,16", "--split", "training=1")
    assert result.exit_code == 0, result.output
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check(folder, *options):
    return run("check", folder / "datalist.json", "--jobs", 1, *options)


def make_constant(path):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), path)


class TestCheck:
    def test_sound_phantoms_pass(self, data):
        result = check(data)
        assert result.exit_code == 0
        assert result.output.splitlines()[-2:] == [
            "missing rates in training: flair 0.000, t1ce 0.000, t1 0.000, t2 0.000",
            "4 cases, 20 files: errors: 0, warnings: 0",
        ]

    def test_sound_hearts_pass(self, tmp_path):
        arguments = ("--cases", 2, "--out", tmp_path / "h", "--size", "32,32", "--split", "training=1")
        assert run("phantom", "heart", *arguments).exit_code == 0
        result = check(tmp_path / "h", "--dataset", "myops2020")
        assert result.exit_code == 0 and result.output.endswith("2 cases, 8 files: errors: 0, warnings: 0\n")

    @pytest.mark.parametrize("dataset", ["brats2020", "tcga_lgg"])
    def test_needs_no_torch(self, dataset, data, tmp_path):
        arguments = ["check", str(data / "datalist.json"), "--dataset", dataset, "--jobs", "1"]
        code = (
            "import sys; from passion_components.cli import app\n"
            f"app({arguments}, standalone_mode=False)\n"
            "print({'torch', 'monai'} & sys.modules.keys())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr

    def test_warnings_alone_leave_the_exit_code_0(self, data):
        make_constant(data / "BrainPhantom_002" / "BrainPhantom_002_t1.nii.gz")
        result = check(data)
        assert result.exit_code == 0 and result.output.endswith("errors: 0, warnings: 1\n")

    def test_an_error_is_counted_told_in_one_line_and_ends_with_1(self, data):
        for number in (2, 3):
            (data / f"BrainPhantom_00{number}" / f"BrainPhantom_00{number}_t1.nii.gz").unlink()
        make_constant(data / "BrainPhantom_002" / "BrainPhantom_002_t2.nii.gz")
        result = check(data)
        assert result.exit_code == 1
        lines = result.output.splitlines()
        rows = [line.replace("│", " ").split() for line in lines]
        assert ["error", "file", "cannot", "be", "used", "2"] in rows
        assert ["warning", "sequence", "without", "contrast", "1"] in rows
        told = [line for line in lines if line.startswith(("error: ", "warning: "))]
        assert [line.split(":")[1] for line in told] == [f" training BrainPhantom_00{number}" for number in (2, 3, 2)]
        assert lines[-1] == "4 cases, 20 files: errors: 2, warnings: 1"

    def test_the_report_is_written_whatever_was_found(self, data, tmp_path):
        (data / "BrainPhantom_002" / "BrainPhantom_002_t1.nii.gz").write_bytes(b"")
        assert check(data, "--json", tmp_path / "new" / "report.json").exit_code == 1
        content = json.loads((tmp_path / "new" / "report.json").read_text())
        assert content["errors"] == 1 and len(content["cases"]) == 4

    def test_nothing_is_written_unless_asked_for(self, data):
        before = sorted(data.rglob("*"))
        check(data)
        assert sorted(data.rglob("*")) == before

    def test_the_data_set_decides_what_is_accepted(self, data):
        result = check(data, "--dataset", "tcga_lgg")
        assert result.exit_code == 1 and "holds the labels 2, 4; accepted: 0, 1" in result.output

    def test_no_jobs_are_refused(self, data):
        assert run("check", data / "datalist.json", "--jobs", 0).exit_code == 2
