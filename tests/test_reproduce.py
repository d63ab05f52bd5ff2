import json
import signal
import sys
import threading
from concurrent.futures import as_completed
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import reproduce
from reproduction import rows, runs
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


def recorded(results: Path, kind: str) -> list[dict[str, str]]:
    return rows.read(results / f"lgg_a_{kind}.csv", rows.OF_KIND[kind])


class TestRows:
    def test_what_a_run_leaves(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run", 0.51234567), about())
        assert recorded(tmp_path, "scores") == [
            {"setting": "passion", "fold": "1", "seed": "0", "case": "P1", "subset": "t1", "region": "lesion"}
            | {"metric": "dice", "value": "0.51235"}
        ]
        assert recorded(tmp_path, "preference")[0]["rp"] == "0.12346"
        assert [row["name"] for row in recorded(tmp_path, "losses")] == ["loss"]
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
        scores = {row["setting"]: row["value"] for row in recorded(tmp_path, "scores")}
        assert scores == {"baseline": "0.3", "passion": "0.2"} and len(rows.finished(tmp_path)) == 2

    def test_a_kill_while_rows_are_written_loses_none(self, tmp_path, monkeypatch):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        before = (tmp_path / "lgg_a_scores.csv").read_text()
        monkeypatch.setattr(rows.csv.DictWriter, "writerows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        assert (tmp_path / "lgg_a_scores.csv").read_text() == before

    def test_rows_count_when_every_fold_has_its_line_in_runs(self, tmp_path):
        for seed in (0, 1):
            for fold in range(5):
                job = Job("lgg_a", "passion", fold, seed)
                rows.record(tmp_path, job, written(tmp_path / "run"), about(job))
        rows.replace(tmp_path / "runs.csv", rows.RUNS, {"fold": "3", "seed": "1"}, [])
        found = rows.of_study(tmp_path, "lgg_a", "scores")
        assert [(row["fold"], row["seed"]) for row in found] == [(str(fold), "0") for fold in range(5)]

    @pytest.mark.parametrize(
        ("damage", "found"),
        [
            (lambda text: text[:-1], "line 2 is cut off"),
            (lambda text: text + "lgg_a,passion\n", "line 3 is damaged"),
            (lambda text: text * 2, "line 3 is damaged"),
            (lambda text: text.replace("90", "9o"), "line 2 is damaged"),
            (lambda text: text.replace("study", "job"), "has no column study; expected study, setting"),
            (lambda text: "", "has no column study"),
        ],
        ids=["end missing", "half a line", "two files in one", "no number", "other heading", "empty"],
    )
    def test_a_damaged_file_is_named_with_its_line(self, tmp_path, damage, found):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        path = tmp_path / "runs.csv"
        path.write_text(damage(path.read_text()))
        with pytest.raises(ValueError, match=f"{path}: {found}"):
            rows.finished(tmp_path)

    def test_line_ends_of_windows_are_read(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about())
        path = tmp_path / "runs.csv"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert rows.finished(tmp_path)[JOB]["scoring_cpu_s"] == "30"

    def test_rows_of_another_command_are_refused(self, tmp_path):
        rows.record(tmp_path, JOB, written(tmp_path / "run"), about() | {"command": "training --epochs 3"})
        with pytest.raises(ValueError, match="lgg_a/passion/fold1_seed0 were made by another command"):
            reproduce.left([JOB], tmp_path)


class TestRun:
    """A job, with programs that only note how they were called."""

    @pytest.fixture
    def calls(self, monkeypatch):
        calls: list[tuple[str, dict[str, str]]] = []

        def call(job, words, values, folder, lock):
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
        assert rows.finished(tmp_path / "results")[JOB]["training_cpu_s"] == "120"

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


def test_a_job_stays_locked_while_what_it_has_started_runs(monkeypatch, tmp_path):
    program, children = tmp_path / "python", set()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(runs.sys, "executable", str(program))
    monkeypatch.setattr(runs, "_children", children)
    monkeypatch.setattr(runs.os, "wait4", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), runs._own(tmp_path / "lock") as lock:
        runs._call(JOB, ["training"], {}, tmp_path, lock)
    with runs._own(tmp_path / "lock") as lock:
        assert lock is None
    (child,) = children
    child.kill()
    child.wait()
    with runs._own(tmp_path / "lock") as lock:
        assert lock is not None


def test_a_job_begins_no_program_once_it_was_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "_stopped", threading.Event())
    monkeypatch.setattr(runs.subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    runs.stop()
    with pytest.raises(runs.RunFailed, match="stopped"):
        runs._call(JOB, ["evaluating"], {}, tmp_path, 0)


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
    assert reproduce.chosen(["brats/passion/fold1_seed0"]) == [Job("brats", "passion", 1, 0)]
    folds = ", ".join(f"brats/passion/fold{fold}_seed0" for fold in range(5))
    for word, accepted in (
        ("lgg_c", "lgg_a, lgg_b, .*, brats_complete"),
        ("brats/pasion", "brats/baseline, brats/passion, brats/neglected"),
        ("brats/passion/1_0", folds),
        ("brats/passion/fold1_seed0/more", "brats/passion/fold1_seed0"),
    ):
        with pytest.raises(ValueError, match=f"begins with '{word}'; accepted: {accepted}$"):
            reproduce.chosen([word])


class TestCommandLine:
    """``reproduce.py`` with programs that do nothing."""

    @pytest.fixture
    def reproduced(self, monkeypatch, capsys, tmp_path):
        def run(*words):
            monkeypatch.setattr(sys, "argv", ["reproduce.py", "--results", str(tmp_path / "mine"), *map(str, words)])
            monkeypatch.setattr(signal, "signal", lambda *_: None)
            try:
                code = reproduce.main()
            except SystemExit as ended:
                code = ended.code
            said = capsys.readouterr()
            return code, said.out + said.err.rstrip()

        return run

    @pytest.fixture
    def data(self, tmp_path) -> Path:
        (tmp_path / "datalist.json").write_text(json.dumps({"dataset": "tcga_lgg", "training": []}))
        return tmp_path

    def test_what_cannot_be_used_is_told_before_the_first_training(self, reproduced, data, tmp_path, monkeypatch):
        monkeypatch.setattr(reproduce, "run", lambda *_: pytest.fail("a training was started"))
        job, work = ("--only", "lgg_a/passion"), ("--work", tmp_path / "work")
        for words, said in (
            ((*job, *work), "lgg_a needs --lgg DIR"),
            ((*job, "--lgg", data), "expected --work DIR"),
            ((*job, *work, "--lgg", tmp_path / "no"), "no such datalist"),
            (("--only", "brats", *work, "--brats", data), "names tcga_lgg, expected brats2021"),
            ((*job, *work, "--lgg", data, "--processes", 0), "expected 1 or more, got '0'"),
            ((*job, *work, "--lgg", data, "--processes", "all"), "expected 1 or more, got 'all'"),
        ):
            code, told = reproduced(*words)
            assert code == 2 and said in told
        (tmp_path / "mine").touch()
        code, told = reproduced(*job, *work, "--lgg", data)
        assert code == 2 and f"File exists: '{tmp_path / 'mine'}'" in told

    def test_what_failed_and_what_another_program_does_is_counted(self, reproduced, data, monkeypatch):
        def run(job, *_):
            if job.fold == 0:
                raise runs.RunFailed("it failed")

        monkeypatch.setattr(reproduce, "run", run)
        code, told = reproduced("--only", "lgg_a/passion", "--work", data / "work", "--lgg", data, "--processes", 1)
        assert code == 1 and told.endswith("1 of 5 failed; the same command tries them again")
        assert "4 not done here, because another program is doing them" in told

    def test_tables_of_a_study_of_ones_own_stand_beside_its_rows(self, reproduced, tmp_path):
        for fold in range(5):
            job = Job("lgg_a", "passion", fold, 0)
            rows.record(tmp_path / "mine", job, written(tmp_path / "run"), about(job))
        page = (DOCS / "results.md").read_text(encoding="utf-8")
        assert reproduced("--table") == (0, "")
        made = (tmp_path / "mine.md").read_text()
        assert "| PASSION, Eq. 14 | 1 | 50.0 |" in made and "+0.000 [+0.000, +0.000]" in made
        assert (DOCS / "results.md").read_text(encoding="utf-8") == page

    @pytest.mark.parametrize("word", ["--table", "--figures"])
    def test_without_rows_nothing_is_written(self, reproduced, tmp_path, word):
        code, told = reproduced(word)
        assert code == 2 and "mine/runs.csv: holds no training; name with --results" in told
        assert list(tmp_path.iterdir()) == []

    def test_damaged_rows_are_told_in_one_line(self, reproduced, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "runs.csv").write_text("study")
        for word in ("--plan", "--table", "--figures"):
            code, told = reproduced(word)
            assert code == 2 and "runs.csv: has no column setting" in told
