"""``passion predict``: what comes out, what is done again, and what is refused."""

import csv
import json
import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest


def facts_of(out, case):
    return json.loads((out / case / "predictions.json").read_text())


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def table(out):
    """The rows of predictions.csv by case."""

    def read():
        with open(out / "predictions.csv", newline="") as file:
            return {row["case"]: row for row in csv.DictReader(file)}

    return read


class TestWhatComesOut:
    def test_a_label_map_and_its_facts_for_every_case(self, passion, scans, out, table):
        result = passion(scans)
        assert result.exit_code == 0 and "3 of 3 cases done" in result.output
        for case, used in (("P0", ["t1", "flair", "t1ce"]), ("P1", ["t1", "flair"]), ("P2", ["t1"])):
            facts = facts_of(out, case)
            label_map = nib.load(out / case / facts["label_map"])
            codes = np.asarray(label_map.dataobj)
            assert label_map.shape == (20, 18, 3) and set(np.unique(codes)) <= {0, 1}
            assert facts["used"] == used and list(facts["scans"]) == used
            assert facts["regions"]["lesion"]["millilitres"] == pytest.approx((codes == 1).sum() * 0.405, abs=1e-3)
            assert table()[case]["lesion_ml"] == str(facts["regions"]["lesion"]["millilitres"])
            assert facts["bundle"] == {"name": "small", "version": "3.2.1"}

    def test_files_by_name_give_what_the_folder_gives(self, passion, scans, out):
        by_name = [f"--flair={scans}/P1/P1_flair.nii.gz", "--t1", scans / "P1/P1_t1.nii.gz"]
        assert passion(*by_name).exit_code == 0
        found = (out / "P1/P1_seg.nii.gz").read_bytes()
        passion(scans, "--force")
        assert (out / "P1/P1_seg.nii.gz").read_bytes() == found

    def test_files_that_name_no_case_are_of_their_folder(self, passion, scans, out):
        for case in ("P0", "P1"):
            shutil.copy(scans / case / f"{case}_t1.nii.gz", scans / case / "t1.nii.gz")
            assert passion("--t1", scans / case / "t1.nii.gz").exit_code == 0
        assert sorted(path.parent.name for path in out.rglob("*_seg.nii.gz")) == ["P0", "P1"]

    def test_one_file_alone_is_asked_for_its_sequence(self, passion, scans):
        result = passion(scans / "P1/P1_t1.nii.gz")
        assert result.exit_code == 2
        assert "is one file; say which sequence it shows, by --t1 or --flair or --t1ce before it" in result.output

    def test_a_file_that_is_named_like_another_sequence_is_told(self, passion, scans):
        file = scans / "P1/P1_flair.nii.gz"
        assert f"warning: P1: {file} is given as t1, but its name says flair" in passion("--t1", file).output
        assert "its name says" not in passion("--flair", file).output

    def test_probabilities_have_a_volume_for_every_class(self, passion, scans, out):
        passion(scans / "P0", "--probabilities")
        probabilities = np.asarray(nib.load(out / "P0/P0_probabilities.nii.gz").dataobj)
        np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
        codes = np.asarray(nib.load(out / "P0/P0_seg.nii.gz").dataobj)
        np.testing.assert_array_equal(probabilities.argmax(-1), codes)

    def test_what_was_given_and_shows_nothing_is_told(self, passion, scans, write_scan, out):
        image = write_scan(scans / "P2/P2_flair.nii.gz", seed=5)
        nib.save(nib.Nifti1Image(np.full(image.shape, 7, np.int16), image.affine), scans / "P2/P2_flair.nii.gz")
        passion(scans / "P2")
        facts = facts_of(out, "P2")
        assert (facts["used"], facts["left_out"]) == (["t1"], ["flair"])
        assert "P2_flair.nii.gz is constant; flair counts as absent" in facts["warnings"]

    def test_a_copy_is_refused_unless_allowed(self, passion, scans):
        (scans / "P2/P2_flair.nii.gz").write_bytes((scans / "P2/P2_t1.nii.gz").read_bytes())
        result = passion(scans / "P2")
        assert result.exit_code == 1 and "hold the same voxels" in result.output
        assert passion(scans / "P2", "--allow_copies").exit_code == 0


class TestHowGood:
    def test_a_poor_subset_is_warned_of_with_the_sequence_that_helps_most(self, passion, scans, out):
        output = passion(scans).output
        line = "from t1 alone these weights reach Dice lesion 0.41 on 17 cases of tcga_lgg; give flair too if you can"
        assert f"warning: P2: {line} (0.83)" in output
        assert "\nP1: from t1+flair these weights reach Dice lesion 0.83 on 17 cases of tcga_lgg\n" in output
        assert "P0: how good these weights are is not known: none of their scores is of these sequences" in output
        expected = facts_of(out, "P2")["expected"]
        assert (expected["dice"], expected["n"], expected["poor"]) == ({"lesion": 0.41}, 17, True)
        assert facts_of(out, "P0")["expected"] is None
        assert any(line in warning for warning in facts_of(out, "P2")["warnings"])

    @pytest.mark.parametrize("of_others", [False, True])
    def test_scores_that_are_not_there_or_of_other_weights_are_none(self, passion, scans, bundle, of_others):
        path = bundle / "models" / "evaluation.json"
        path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0')) if of_others else path.unlink()
        why = f"{path} is of other weights" if of_others else "no scores ship with them"
        assert f"P2: how good these weights are is not known: {why}\n" in passion(scans).output

    def test_a_region_without_a_score_is_not_told_as_a_number(self, passion, scans, bundle):
        path = bundle / "models" / "evaluation.json"
        path.write_text(path.read_text().replace("0.41", "NaN").replace('"n": 17', '"n": 1'))
        output = passion(scans).output
        assert "P2: how good these weights are is not known: none of their scores is of these sequences" in output
        assert "P1: from t1+flair these weights reach Dice lesion 0.83 on 1 case of tcga_lgg" in output


class TestDoneAlready:
    @pytest.fixture
    def redone(self, passion, scans, out):
        """Which cases a second call does, with more words."""

        def call(*words):
            for path in out.glob("*/*_seg.nii.gz"):
                os.utime(path, (0, 0))
            assert passion(scans, *words).exit_code == 0
            return sorted(path.parent.name for path in out.glob("*/*_seg.nii.gz") if path.stat().st_mtime)

        passion(scans)
        return call

    def test_the_same_again_does_nothing_unless_forced(self, redone, table):
        assert redone() == []
        assert redone("--force") == ["P0", "P1", "P2"]
        assert set(table()) == {"P0", "P1", "P2"}

    def test_other_scans_settings_or_missing_files_do(self, redone, scans, out, write_scan):
        write_scan(scans / "P1/P1_flair.nii.gz", seed=99)
        (out / "P2/predictions.json").unlink()
        assert redone() == ["P1", "P2"]
        assert redone("--overlap", "0.25") == ["P0", "P1", "P2"]
        assert redone("--min-component-share", "1") == ["P0", "P1", "P2"]

    def test_other_weights_do(self, redone, bundle):
        (bundle / "models/model.safetensors").unlink()
        assert redone() == ["P0", "P1", "P2"]

    @pytest.mark.parametrize("name", ["scans", "weights", "expected", "regions"])
    def test_facts_that_were_changed_are_made_again(self, passion, scans, out, table, name):
        passion(scans)
        path = out / "P1" / "predictions.json"
        path.write_text(json.dumps(facts_of(out, "P1") | {name: [1]}))
        assert passion(scans / "P2").exit_code == 0 and set(table()) == {"P0", "P2"}
        assert passion(scans).exit_code == 0 and set(table()) == {"P0", "P1", "P2"}

    def test_files_may_have_moved(self, redone, scans):
        scans.joinpath("P2").rename(scans / "moved")
        (scans / "moved").rename(scans / "P2")
        assert redone() == []


class TestFailures:
    def test_one_broken_case_does_not_stop_the_others(self, passion, scans, out, table):
        passion(scans)
        (scans / "P1/P1_flair.nii.gz").write_bytes(b"broken")
        result = passion(scans, "--force")
        assert result.exit_code == 1 and "error: 2 of 3 cases done, 1 failed" in result.output
        assert [entry["case"] for entry in json.loads((out / "failures.json").read_text())] == ["P1"]
        assert set(table()) == {"P0", "P2"} and not list((out / "P1").glob("*"))

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (
                ["--t2", "a.nii.gz"],
                "no such option --t2; sequences of tcga_lgg are --t1 FILE --flair FILE --t1ce",
            ),
            ([".", "--amq"], "no such option --amq (did you mean --amp?)"),
            (["--t1", "a.nii.gz", "--probabilites"], "--probabilites (did you mean --probabilities?)"),
            (["--t1"], "--t1: expected one file after it, once"),
            (["--t1", ""], "an empty word stands after --t1"),
            (["--t1="], "an empty word stands after --t1"),
            (["--t1", "gone.nii.gz"], "--t1 gone.nii.gz: no such file"),
            (["a", "b"], "'a': one SCANS is accepted, or sequences by name: --t1 FILE --flair FILE --t1ce FILE"),
            (["gone"], "gone: no such folder"),
            ([".", "--shard", "4/3"], "--shard 4/3: expected K/N"),
            ([".", "--shard", "0/3"], "--shard 0/3: expected K/N"),
            ([".", "--device", "abacus"], "--device abacus: accepted are cpu, cuda, and cuda:1"),
            ([".", "--device", "mps"], "--device mps: accepted are cpu, cuda, and cuda:1"),
            ([".", "--device", "cuda:99"], "--device cuda:99: "),
            ([".", "--overlap", "2"], "overlap must be one number in [0, 1), got 2"),
            ([".", "--min_component_share", "30"], "--min_component_share: expected a number from 0 "),
            ([".", "--ckpt", "gone.pt"], "no weights: looked for gone.pt; name a file with --ckpt"),
            ([".", "--label_scheme", "mine"], "--label_scheme mine: accepted: tcga_lgg"),
            ([".", "--dataset", "mine"], "unknown data set 'mine'; accepted: "),
        ],
    )
    def test_what_cannot_start_ends_in_one_line_with_code_2(self, passion, scans, words, line, out, monkeypatch):
        monkeypatch.chdir(scans)
        result = passion(*words)
        assert result.exit_code == 2 and result.output.splitlines()[-1].startswith("error: ")
        assert line in result.output and not out.exists()

    def test_an_interruption_tells_how_to_go_on(self, passion, scans, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("passion_components.predict.runs._without_done", interrupt)
        result = passion(scans)
        assert result.exit_code == 130
        assert "error: interrupted; the cases that are done are kept, the same command does the" in result.output


class TestShares:
    def test_parts_do_every_nth_case_into_one_table(self, passion, scans, out, table):
        assert passion(scans, "--shard", "2/2").exit_code == 0
        assert set(table()) == {"P1"}
        assert passion(scans, "--shard", "1/2").exit_code == 0
        assert set(table()) == {"P0", "P1", "P2"}

    def test_processes_of_a_launcher_share_the_cases_of_their_part(self, passion, scans, monkeypatch, table):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        passion(scans, "--shard", "1/1")
        assert set(table()) == {"P1"}

    def test_failures_of_parts_are_listed_apart(self, passion, scans, out):
        (scans / "P1/P1_flair.nii.gz").write_bytes(b"broken")
        assert passion(scans, "--shard", "1/2").exit_code == 0
        assert passion(scans, "--shard", "2/2").exit_code == 1
        assert [path.name for path in out.glob("failures*")] == ["failures_2_of_2.json"]


def test_the_package_alone_imports_no_torch():
    code = "import sys, passion_components; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
