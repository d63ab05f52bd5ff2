import json
import re
import sys
import threading
from concurrent.futures import as_completed
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import reproduce
from reproduction import rows, runs, tables
from reproduction.folds import deal, fold_datalist
from reproduction.grid import SETTINGS, STUDIES, Job, jobs
from reproduction.runs import command
from reproduction.scored import mean, settings_of

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import DATASETS
from passion_components.reports.comparison import difference

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


JOB = Job("lgg_a", "passion", 1, 0)


def written(folder: Path, dice: float = 0.5) -> Path:
    """An output folder as training and evaluation leave it, of one case."""
    (folder / "test").mkdir(parents=True, exist_ok=True)
    (folder / "test" / "metrics.csv").write_text(f"case,subset,region,metric,value\nP1,t1,lesion,dice,{dice}\n")
    (folder / "preference.csv").write_text("epoch,modality,rp,beta,samples\n1,t1,0.123456789,1.25,7\n")
    (folder / "history.csv").write_text("epoch,name,value\n1,loss,2.5\n1,seconds,9.0\n")
    return folder


def about(job: Job = JOB) -> dict[str, str]:
    return {"command": command(job), "data": "d", "commit": "abc", "training_cpu_s": "90", "scoring_cpu_s": "30"}


class TestRows:
    def test_what_a_run_leaves(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run", 0.51234567), about())
        assert rows.of_study(tmp_path, "lgg_a", "scores") == [
            {"setting": "passion", "fold": "1", "seed": "0", "case": "P1", "subset": "t1", "region": "lesion"}
            | {"metric": "dice", "value": "0.51235"}
        ]
        assert rows.of_study(tmp_path, "lgg_a", "preference")[0]["rp"] == "0.12346"
        assert [row["name"] for row in rows.of_study(tmp_path, "lgg_a", "losses")] == ["loss"]
        found = [job for job in jobs() if job.study in ("lgg_a", "brats") and job.setting == "passion"]
        assert reproduce.left(found, tmp_path) == [job for job in found if job != JOB]
        plan = reproduce.plan(found, tmp_path)
        assert "1 of   5 done, 2.0 CPU minutes each" in plan and "0 of   5 done, ? CPU minutes each" in plan
        assert plan.endswith("taken: 0.0 CPU hours; left: about 0.1, and 5 trainings of studies not measured yet")

    def test_rows_of_a_job_are_replaced_and_others_stay(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run", 0.1), about())
        other = Job("lgg_a", "baseline", 1, 0)
        rows.record(tmp_path, other, written(tmp_path / "run", 0.3), about(other))
        rows.record(tmp_path, JOB, written(tmp_path / "run", 0.2), about())
        scores = {row["setting"]: row["value"] for row in rows.of_study(tmp_path, "lgg_a", "scores")}
        assert scores == {"baseline": "0.3", "passion": "0.2"} and len(rows.read(tmp_path / "runs.csv")) == 2

    def test_a_kill_while_rows_are_written_loses_none(self, tmp_path, monkeypatch):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        before = (tmp_path / "lgg_a_scores.csv").read_text()
        monkeypatch.setattr(rows.csv.DictWriter, "writerows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        assert (tmp_path / "lgg_a_scores.csv").read_text() == before

    def test_rows_without_their_line_in_runs_do_not_count(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        rows.write(tmp_path / "runs.csv", rows.RUNS, [])
        assert rows.of_study(tmp_path, "lgg_a", "scores") == []

    def test_rows_of_another_command_are_refused(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about() | {"command": "training --epochs 3"})
        with pytest.raises(ValueError, match="lgg_a/passion/fold1_seed0 were made by another command"):
            reproduce.left([JOB], tmp_path)


class TestRun:
    """A job, with programs that only note how they were called."""

    @pytest.fixture
    def calls(self, monkeypatch):
        calls: list[tuple[str, dict[str, str]]] = []

        def call(job, words, values, folder):
            calls.append((words[0], dict(values)))
            (folder / "checkpoint.pt").touch()
            with open(folder / "cpu.txt", "a") as file:
                file.write(f"{words[0]} 60.0\n")
            if len(calls) in self.failing:
                raise runs.RunFailed("it failed")
            written(folder)

        self.failing: set[int] = set()
        monkeypatch.setattr(runs, "_call", call)
        return calls

    @pytest.fixture
    def do(self, tmp_path):
        def do(names=NAMES):
            (tmp_path / "data").mkdir(exist_ok=True)
            files = {"t1": "t1.nii", "flair": "f.nii", "t1ce": "c.nii", "label": "s.nii"}
            cases = [{"case": name} | files for name in names]
            (tmp_path / "data" / "datalist.json").write_text(json.dumps({"dataset": "tcga_lgg", "training": cases}))
            runs.run(JOB, tmp_path / "data", tmp_path / "work", tmp_path / "results")

        return do

    def test_trains_scores_and_leaves_rows_alone(self, calls, do, tmp_path):
        do()
        assert [name for name, _ in calls] == ["training", "evaluating"] and "resume" not in calls[0][1]
        assert not (tmp_path / "work" / JOB.name).exists()
        do()
        assert len(calls) == 2

    def test_what_failed_goes_on_and_all_its_time_counts(self, calls, do, tmp_path):
        self.failing = {1}
        with pytest.raises(runs.RunFailed):
            do()
        do()
        assert [name for name, _ in calls] == ["training", "training", "evaluating"] and calls[1][1]["resume"] == "True"
        assert rows.read(tmp_path / "results" / "runs.csv")[0]["training_cpu_s"] == "120"

    def test_leftovers_without_a_checkpoint_do_not_block(self, calls, do, tmp_path):
        written(tmp_path / "work" / JOB.name)
        do()
        assert "resume" not in calls[0][1]

    def test_other_cases_than_those_of_the_rows_are_refused(self, calls, do, tmp_path):
        do()
        path = tmp_path / "results" / "runs.csv"
        path.write_text(path.read_text().replace("passion", "baseline"))
        with pytest.raises(runs.RunFailed, match="is not what the rows in .* were trained on .fold 1"):
            do(NAMES[:-1])
        assert len(calls) == 2

    def test_a_job_of_another_program_is_left_to_it(self, calls, do, tmp_path):
        (tmp_path / "work" / "lgg_a" / "passion").mkdir(parents=True)
        with runs._own(tmp_path / "work" / f"{JOB.name}.lock"):
            do()
        assert calls == []


def test_a_job_begins_no_program_once_it_was_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "_stopped", threading.Event())
    monkeypatch.setattr(runs.subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    runs.stop()
    with pytest.raises(runs.RunFailed, match="stopped"):
        runs._call(JOB, ["evaluating"], {}, tmp_path)


def test_an_interruption_starts_no_further_job(monkeypatch, tmp_path):
    done, stopped = [], threading.Event()

    def run(job, *_):
        done.append(job)
        if len(done) == 2:
            stopped.wait(60)

    def interrupted(doing):
        yield next(as_completed(doing))
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "run", run)
    monkeypatch.setattr(reproduce, "stop", stopped.set)
    monkeypatch.setattr(reproduce, "as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce.work_off(list(jobs()), {"lgg": tmp_path, "brats": tmp_path}, tmp_path, tmp_path, 1)
    assert stopped.is_set() and len(done) <= 2


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


def test_how_far_preference_moves(tmp_path):
    moves = {0: (0.4, 0.2), 1: (0.4, 0.3)}
    found = [
        {
            "setting": "passion",
            "fold": fold,
            "seed": 0,
            "epoch": epoch,
            "modality": name,
            "rp": sign * size,
            "beta": beta,
        }
        for fold, (early, late) in moves.items()
        for epoch, size, beta in ((1, early, 2.0), (7, late, 2.1))
        for name, sign in (("t1", 1), ("flair", -1))
    ]
    rows.write(tmp_path / "lgg_a_preference.csv", rows.PREFERENCE, found)
    lines = [{"study": "lgg_a", "setting": "passion", "fold": fold, "seed": 0} for fold in moves]
    rows.write(tmp_path / "runs.csv", rows.RUNS, lines)
    expected = "| PASSION, Eq. 14 | 2 | 0.400 | 0.250 | -0.150 [-0.785, +0.485] | t1 +0.25, flair -0.25 | 5.0 |"
    assert tables.preference("lgg_a", tmp_path)[-1] == expected


def write_rows(results: Path, study: str, scores: list[dict]) -> None:
    """Rows of finished jobs."""
    rows.write(results / f"{study}_scores.csv", rows.SCORES, scores)
    found = {(row["setting"], row["fold"], row["seed"]) for row in scores}
    lines = [dict(zip(rows.KEY, key, strict=True)) | {"study": study} for key in sorted(found)]
    rows.write(results / "runs.csv", rows.RUNS, [*rows.read(results / "runs.csv"), *lines])


def test_the_page_of_results_is_complete():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert not re.search(r"@\w+@", text)
    for file in re.findall(r"\]\((results/[^)]+)\)", text):
        assert (DOCS / file).is_file(), file


def test_the_tables_of_the_page_are_those_of_the_committed_rows():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert tables.with_tables(text, DOCS / "results") == text
