import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from reproduction import rows, tables
from reproduction.grid import Job
from reproduction.scored import mean, settings_of

from passion_components.reports.comparison import difference

DOCS = Path(__file__).parents[1] / "docs"
TIMES = {"training_cpu_s": "90", "scoring_cpu_s": "30"}


def test_differences_are_paired_over_the_cases_of_all_folds(tmp_path):
    scores = []
    for fold in range(5):
        for case in range(2):
            for subset in ("t1", "t1+flair"):
                hard = 0.3 + 0.1 * case + (0.2 if subset == "t1+flair" else 0)
                for setting, more in (("baseline", 0.0), ("passion", 0.05)):
                    key = {"setting": setting, "fold": fold, "seed": 0, "case": f"P{fold}{case}", "subset": subset}
                    scores.append(key | {"region": "lesion", "metric": "dice", "value": hard + more})
                    scores.append(key | {"region": "lesion", "metric": "hd95", "value": 40 - 100 * more})
    write_rows(tmp_path, "lgg_a", scores)
    text = "<!-- rows: means lgg_a -->\nold\n<!-- end -->\n<!-- rows: differences lgg_a -->\n<!-- end -->"
    text += "\n<!-- rows: differences lgg_a passion -->\n<!-- end -->"
    filled = tables.with_tables(text, tmp_path)
    assert "old" not in filled and tables.with_tables(filled, tmp_path) == filled
    assert "| baseline, Eq. 2 | 1 | 45.0 | 35.0 | 55.0 | 40.0 |" in filled
    assert "| PASSION, Eq. 14 | 10 | +5.00 [+5.00, +5.00] | -5.00 [-5.00, -5.00] |" in filled
    assert "| baseline, Eq. 2 | 10 | -5.00 [-5.00, -5.00] | +5.00 [+5.00, +5.00] |" in filled


def test_a_setting_counts_when_all_of_its_folds_are_there(tmp_path):
    key = {"setting": "baseline", "seed": 0, "case": "P", "subset": "t1", "region": "lesion", "metric": "dice"}
    write_rows(tmp_path, "lgg_a", [key | {"fold": fold, "value": 0.5} for fold in range(4)])
    assert tables.means("lgg_a", tmp_path) == ["Not run yet."]


def test_the_same_setting_on_complete_data_stands_beside_it_by_another_name(tmp_path):
    for study, value in (("lgg_a", 0.4), ("lgg_complete", 0.6)):
        key = {"setting": "moddrop", "seed": 0, "subset": "t1", "region": "lesion", "metric": "dice", "value": value}
        write_rows(tmp_path, study, [key | {"fold": fold, "case": f"P{fold}"} for fold in range(5)])
    found = {setting.name: mean(setting, "dice") for setting in settings_of("lgg_a", tmp_path).values()}
    assert found == {"ModDrop, Eq. 2": pytest.approx(0.4), "ModDrop, Eq. 2; complete data": pytest.approx(0.6)}


def test_means_and_differences_average_alike_where_patients_lack_subsets(tmp_path):
    scores = []
    for fold in range(5):
        for seed, more in ((0, 0.0), (1, 0.1)):
            for setting, gain in (("baseline", 0.0), ("passion", 0.01 * fold)):
                key = {"setting": setting, "fold": fold, "seed": seed, "case": f"P{fold}", "region": "lesion"}
                for subset in ("t1", "t1+flair") if fold else ("t1",):
                    for metric in ("dice", "hd95"):
                        scores.append(key | {"subset": subset, "metric": metric, "value": 0.3 + more + gain})
    write_rows(tmp_path, "lgg_a", scores)
    found = settings_of("lgg_a", tmp_path)
    expected = mean(found["passion"], "dice") - mean(found["baseline"], "dice")
    assert difference(found["passion"], found["baseline"]).value[0, 0, -1] == pytest.approx(expected)


def test_how_far_preference_moves_in_settings_with_all_folds(tmp_path):
    moves = {fold: (0.4, 0.2 if fold % 2 else 0.3) for fold in range(5)}
    found = [
        {
            "setting": setting,
            "fold": fold,
            "seed": 0,
            "epoch": epoch,
            "modality": name,
            "rp": sign * size,
            "beta": beta,
        }
        for setting, folds in (("passion", 5), ("pmr", 4))
        for fold, (early, late) in list(moves.items())[:folds]
        for epoch, size, beta in ((1, early, 2.0), (7, late, 2.1))
        for name, sign in (("t1", 1), ("flair", -1))
    ]
    rows.write(tmp_path / "lgg_a_preference.csv", rows.PREFERENCE, found)
    write_runs(tmp_path, sorted({Job("lgg_a", row["setting"], row["fold"], 0) for row in found}, key=str))
    expected = "| PASSION, Eq. 14 | 5 | 0.400 | 0.260 | -0.140 [-0.208, -0.072] | t1 +0.26, flair -0.26 | 5.0 |"
    assert tables.preference("lgg_a", tmp_path)[2:] == [expected]


def test_terms_are_those_of_the_last_epochs_of_settings_with_all_folds(tmp_path):
    losses = []
    for setting, folds, epochs in (("baseline", 5, 24), ("passion", 5, 6), ("pmr", 4, 24)):
        for fold in range(folds):
            key = {"setting": setting, "fold": fold, "seed": 0}
            losses += [key | {"epoch": epoch, "name": "loss", "value": epoch} for epoch in range(1, epochs + 1)]
    rows.write(tmp_path / "lgg_a_losses.csv", rows.LOSSES, losses)
    scored = {(row["setting"], row["fold"]) for row in losses}
    score = {"seed": 0, "case": "P", "subset": "t1", "region": "lesion", "metric": "dice", "value": 0.5}
    write_rows(tmp_path, "lgg_a", [score | {"setting": setting, "fold": fold} for setting, fold in scored])
    assert tables.terms("lgg_a", tmp_path)[2:] == ["| baseline, Eq. 2 | 23.000 |", "| PASSION, Eq. 14 | 5.000 |"]


def write_rows(results: Path, study: str, scores: list[dict]) -> None:
    """Rows of finished jobs."""
    rows.write(results / f"{study}_scores.csv", rows.SCORES, scores)
    write_runs(results, sorted({Job(study, row["setting"], row["fold"], row["seed"]) for row in scores}, key=str))


def write_runs(results: Path, done: list[Job]) -> None:
    """Lines of finished jobs, after those that are there."""
    before = rows.read(results / "runs.csv", rows.RUNS)
    rows.write(results / "runs.csv", rows.RUNS, [*before, *(asdict(job) | TIMES for job in done)])


def test_the_page_of_results_is_complete():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert not re.search(r"@\w+@", text)
    for file in re.findall(r"\]\((results/[^)]+)\)", text):
        assert (DOCS / file).is_file(), file


def test_every_interval_in_the_text_of_the_page_stands_in_one_of_its_tables():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    known = [interval for block in tables.BLOCK.finditer(text) for interval in intervals(block[0])]
    known += [(-high, -low) for low, high in known]  # of the same difference, the other way round
    found = intervals(tables.BLOCK.sub("", text))
    assert len(found) > 50
    for interval in found:
        assert any(interval == pytest.approx(other, abs=0.0501) for other in known), interval


def intervals(text: str) -> list[tuple[float, float]]:
    """Every ``[low, high]`` in a text."""
    number = r"([-+]?\d*\.?\d+)"
    return [(float(low), float(high)) for low, high in re.findall(rf"\[{number}, {number}\]", text)]


def test_the_tables_of_the_page_are_those_of_the_committed_rows():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert tables.with_tables(text, DOCS / "results") == text
