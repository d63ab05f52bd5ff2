import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import reproduce
from reproduction import rows, tables
from reproduction.folds import deal, fold_datalist
from reproduction.grid import SETTINGS, STUDIES, Job, jobs
from reproduction.runs import command

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import DATASETS

DOCS = Path(__file__).parents[1] / "docs"
NAMES = [f"TCGA_{site}_{number:04}_19990101" for site, n in (("CS", 7), ("DU", 11), ("HT", 4)) for number in range(n)]


def test_every_case_is_in_one_fold_and_every_site_in_all():
    folds = deal(NAMES, 4)
    assert sorted(sum(folds, [])) == sorted(NAMES)
    assert {len(fold) for fold in folds} <= {5, 6}
    for site, n in (("CS", 7), ("DU", 11), ("HT", 4)):
        assert {sum(site in name for name in fold) for fold in folds} <= {n // 4, n // 4 + 1, -(-n // 4)}


def test_folds_depend_on_names_alone():
    assert deal(NAMES[::-1], 4) == deal(NAMES, 4)


def test_a_fold_takes_sequences_from_its_training_cases_only(tmp_path):
    cases = [{"case": name, "label": f"{name}/seg.nii.gz"} for name in NAMES]
    for case in cases:
        case |= {modality: f"{case['case']}/{modality}.nii.gz" for modality in ("t1", "flair", "t1ce")}
    source = tmp_path / "datalist.json"
    source.write_text(json.dumps({"dataset": "tcga_lgg", "training": cases[:9], "test": cases[9:]}))
    spec, study = DATASETS["tcga_lgg"], STUDIES["lgg_a"]
    listed = [
        Datalist(fold_datalist(source, tmp_path / f"{fold}.json", study, spec, fold)).parts(spec.modalities)
        for fold in range(study.folds)
    ]
    assert sorted(case["case"] for parts in listed for case in parts["test"]) == sorted(NAMES)
    for parts in listed:
        assert all(set(case) >= set(spec.modalities) for case in parts["test"])
        assert not {case["case"] for case in parts["test"]} & {case["case"] for case in parts["training"]}
        assert sum("flair" not in case for case in parts["training"]) > sum(
            "t1" not in case for case in parts["training"]
        )


def test_the_grid_names_every_training_once_and_what_it_names_exists():
    everything = list(jobs())
    assert len(set(everything)) == len(everything)
    for study in STUDIES.values():
        configs = DOCS.parent / "bundles" / study.bundle / "configs"
        for setting in study.settings:
            for overlay in SETTINGS[setting].overlays:
                assert (configs / f"{overlay}.json").is_file()


class TestRows:
    JOB = Job("lgg_a", "passion", 1, 0)

    def folder(self, tmp_path: Path, dice: float) -> Path:
        folder = tmp_path / "run"
        (folder / "test").mkdir(parents=True, exist_ok=True)
        (folder / "test" / "metrics.csv").write_text(f"case,subset,region,metric,value\nP1,t1,lesion,dice,{dice}\n")
        (folder / "preference.csv").write_text("epoch,modality,rp,beta,samples\n1,t1,0.123456789,1.25,7\n")
        (folder / "history.csv").write_text("epoch,name,value\n1,loss,2.5\n1,seconds,9.0\n")
        return folder

    def about(self) -> dict[str, str]:
        return {"command": command(self.JOB), "commit": "abc", "training_cpu_s": "90", "scoring_cpu_s": "30"}

    def test_what_a_run_leaves(self, tmp_path):
        results = tmp_path / "results"
        rows.record(results, self.JOB, self.folder(tmp_path, 0.51234567), self.about())
        assert rows.read(results / "lgg_a_scores.csv") == [
            {"setting": "passion", "fold": "1", "seed": "0", "case": "P1", "subset": "t1", "region": "lesion"}
            | {"metric": "dice", "value": "0.51235"}
        ]
        assert rows.read(results / "lgg_a_preference.csv")[0]["rp"] == "0.12346"
        assert [row["name"] for row in rows.read(results / "lgg_a_losses.csv")] == ["loss"]
        found = [job for job in jobs() if job.study == "lgg_a" and job.setting == "passion"]
        assert reproduce.left(found, results) == [job for job in found if job != self.JOB]
        assert "1 of   5 done, 2.0 CPU minutes each" in reproduce.plan(found, results)
        assert "left: about 0.1" in reproduce.plan(found, results)

    def test_rows_of_an_interrupted_recording_are_replaced(self, tmp_path):
        results = tmp_path / "results"
        rows.record(results, self.JOB, self.folder(tmp_path, 0.1), self.about())
        rows.record(results, Job("lgg_a", "baseline", 1, 0), self.folder(tmp_path, 0.3), self.about())
        (results / "runs.csv").unlink()
        rows.record(results, self.JOB, self.folder(tmp_path, 0.2), self.about())
        scores = {row["setting"]: row["value"] for row in rows.read(results / "lgg_a_scores.csv")}
        assert scores == {"baseline": "0.3", "passion": "0.2"}

    def test_rows_of_another_command_are_refused(self, tmp_path):
        results = tmp_path / "results"
        rows.record(results, self.JOB, self.folder(tmp_path, 0.1), self.about() | {"command": "training --epochs 3"})
        with pytest.raises(ValueError, match="lgg_a/passion/fold1_seed0 were made by another command"):
            reproduce.left([self.JOB], results)


def test_a_name_outside_the_grid_is_refused():
    assert {job.setting for job in reproduce.chosen(["lgg_a/passion"])} == {"passion"}
    with pytest.raises(ValueError, match="begins with 'lgg_c'.*lgg_a"):
        reproduce.chosen(["lgg_c"])


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
    rows.append(tmp_path / "lgg_a_scores.csv", rows.SCORES, scores)
    text = "<!-- rows: means lgg_a -->\nold\n<!-- end -->\n<!-- rows: differences lgg_a -->\n<!-- end -->"
    filled = tables.with_tables(text, tmp_path)
    assert "old" not in filled and tables.with_tables(filled, tmp_path) == filled
    assert "| baseline, Eq. 2 | 1 | 45.0 | 35.0 | 55.0 | 40.0 |" in filled
    assert "| PASSION, Eq. 14 | 10 | +5.00 [+5.00, +5.00] | -5.00 [-5.00, -5.00] |" in filled


def test_a_setting_counts_when_all_of_its_folds_are_there(tmp_path):
    key = {"setting": "baseline", "seed": 0, "case": "P", "subset": "t1", "region": "lesion", "metric": "dice"}
    rows.append(tmp_path / "lgg_a_scores.csv", rows.SCORES, [key | {"fold": fold, "value": 0.5} for fold in range(4)])
    assert tables.means("lgg_a", tmp_path) == ["Not run yet."]


def test_the_tables_of_the_page_are_those_of_the_committed_rows():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert tables.with_tables(text, DOCS / "results") == text
