"""``passion tables`` and ``passion report``."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from passion_components.cli import app, main
from passion_components.metrics import ScoreBook


@pytest.fixture
def folders(tmp_path):
    for name, dice in (("a", 0.5), ("b", 0.75)):
        book = ScoreBook(dataset="tcga_lgg", modalities=("t1", "flair", "t1ce"))
        for case in ("P1", "P2"):
            book.add(case, ("t1",), {"lesion": {"dice": dice, "hd95": 3.0}})
        book.write_csv(tmp_path / name / "metrics.csv")
        book.write_json(tmp_path / name / "summary.json")
    return [str(tmp_path / name) for name in "ab"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class TestTables:
    def test_are_printed(self, folders):
        result = run("tables", f"baseline={folders[0]}", f"PASSION={folders[1]}")
        assert result.exit_code == 0
        assert "| unknown | PASSION | unknown | 1 | 2 | 75.00 | 3.00 |" in result.output
        assert "## Paired differences to baseline" in result.output

    def test_are_written(self, folders, tmp_path):
        result = run("tables", *folders, "--out", tmp_path / "tables")
        assert result.exit_code == 0
        names = {path.name for path in (tmp_path / "tables").iterdir()}
        assert names >= {"tables.md", "table1.csv", "table3_dice.csv", "differences.csv"} and "table2.csv" not in names

    def test_a_run_without_scores_ends_in_one_line(self, folders, tmp_path, capsys, monkeypatch):
        (tmp_path / "a" / "summary.json").unlink()
        monkeypatch.setattr(sys, "argv", ["passion", "tables", *folders])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {folders[0]}: holds neither summary.json nor history.csv")


class TestReport:
    def test_is_one_file(self, folders, tmp_path):
        result = run("report", *folders, "--out", tmp_path / "report.html")
        assert result.exit_code == 0 and result.output.strip() == f"written: {tmp_path / 'report.html'}"
        assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("command", "example"),
    [("tables", "passion tables baseline=runs/b0"), ("report", "passion report bundles/brats2020_rfnet/output")],
)
def test_every_command_shows_an_example(command, example, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    result = run(command, "--help")
    assert result.exit_code == 0 and example in result.output
