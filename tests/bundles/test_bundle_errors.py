"""Bad input ends in one line that tells file, finding and remedy; other cases are not harmed."""

import gzip
import json
import os
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

from passion_components.engines.failures import error_line
from passion_components.objectives import BaselineObjective, PassionObjective


def refusal(run, *arguments, **overrides) -> str:
    with pytest.raises(RuntimeError) as stop:
        run(*arguments, **overrides)
    line = error_line(stop.value)
    assert line is not None and "\n" not in line
    return line


def change(file, edit) -> None:
    """Rewrite a volume after ``edit`` has changed its array."""
    image = nib.load(file)
    array = np.asarray(image.dataobj).astype(np.float32)
    edit(array)
    nib.save(nib.Nifti1Image(array, image.affine), file)


def set_voxel(value):
    def edit(array):
        array[8, 10, 9] = value

    return edit


class TestTraining:
    @pytest.fixture
    def damaged(self, own_phantoms):
        """Folder, and the first training case's files of the complete datalist."""
        case = json.loads((own_phantoms / "datalist.json").read_text())["training"][0]
        return own_phantoms, {key: own_phantoms / value for key, value in case.items() if key != "case"}

    def train(self, run, folder, tmp_path, **overrides) -> str:
        files = {"dataset_dir": folder, "datalist": folder / "datalist.json", "output_dir": tmp_path / "out"}
        return refusal(run, "training", "train", **(files | overrides))

    def test_no_such_folder(self, run, tmp_path):
        line = self.train(run, tmp_path / "nowhere", tmp_path)
        assert "nowhere/datalist.json: no such datalist; make one with `passion prepare`" in line

    def test_a_listed_file_that_is_not_there(self, run, damaged, tmp_path):
        folder, files = damaged
        files["t1"].unlink()
        line = self.train(run, folder, tmp_path)
        assert str(files["t1"]) in line and "does not exist; correct the path" in line

    def test_a_case_without_modality(self, run, damaged, tmp_path, edit_datalist):
        folder, files = damaged

        def strip(parts):
            parts["training"][0] = {key: parts["training"][0][key] for key in ("case", "label")}

        edit_datalist(folder / "datalist.json", strip)
        assert "has no modality; expected at least one of flair, t1ce, t1, t2" in self.train(run, folder, tmp_path)

    def test_grids_that_differ_within_a_case(self, run, damaged, tmp_path):
        folder, files = damaged
        image = nib.load(files["flair"])
        moved = image.affine.copy()
        moved[0, 3] += 0.5
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), files["flair"])
        line = self.train(run, folder, tmp_path)
        assert "its files lie on different grids" in line and files["flair"].name in line and "accepted:" in line

    def test_labels_outside_the_set(self, run, damaged, tmp_path):
        folder, files = damaged
        change(files["label"], set_voxel(3))
        line = self.train(run, folder, tmp_path)
        assert f"{files['label']} holds the labels 3; accepted: 0, 1, 2, 4" in line

    @pytest.mark.parametrize("workers", [0, 1])
    def test_nan_voxels_with_and_without_a_loader_process(self, run, damaged, tmp_path, workers):
        folder, files = damaged
        change(files["t2"], set_voxel(np.nan))
        line = self.train(run, folder, tmp_path, num_workers=workers, cache=False)
        assert f"{files['t2']} holds 1 NaN or infinite voxels; expected finite numbers" in line

    def test_a_truncated_file(self, run, damaged, tmp_path):
        folder, files = damaged
        files["t1ce"].write_bytes(files["t1ce"].read_bytes()[:-200])
        line = self.train(run, folder, tmp_path)
        assert f"{files['t1ce']} cannot be read" in line and "copy or convert it again" in line

    def test_a_file_that_is_not_compressed_although_it_says_so(self, run, damaged, tmp_path):
        folder, files = damaged
        files["t1"].write_bytes(gzip.decompress(files["t1"].read_bytes()))
        assert "it is not compressed although its name ends in .gz" in self.train(run, folder, tmp_path)

    def test_a_datalist_without_training_cases(self, run, damaged, tmp_path, edit_datalist):
        folder, _ = damaged
        edit_datalist(folder / "datalist.json", lambda parts: parts.update(training=[]))
        assert "the part 'training' has no cases" in self.train(run, folder, tmp_path)

    def test_a_case_without_label(self, run, damaged, tmp_path, edit_datalist):
        folder, _ = damaged
        edit_datalist(folder / "datalist.json", lambda parts: parts["training"][1].pop("label"))
        assert "has no label; training needs one for every case" in self.train(run, folder, tmp_path)


class TestEvaluation:
    def test_without_weights_it_says_where_it_looked(self, run, tmp_path):
        line = refusal(run, "evaluating", "train", "evaluate", output_dir=tmp_path / "out")
        assert "no weights: looked for" in line and "--ckpt" in line

    def test_weights_of_another_network(self, run, random_weights, tmp_path):
        line = refusal(run, "evaluating", "train", "evaluate", ckpt=random_weights, network_width=8)
        assert f"{random_weights} does not fit RFNet" in line


class TestInference:
    @pytest.fixture
    def scans(self, phantoms, tmp_path):
        """Three cases in folders of their own."""
        folder = tmp_path / "scans"
        for case in sorted(path for path in phantoms.iterdir() if path.is_dir())[:3]:
            shutil.copytree(case, folder / case.name)
        return folder

    @pytest.fixture
    def segment(self, run, random_weights, tmp_path):
        return lambda scans: refusal(
            run, "inference", "inference", dataset_dir=scans, ckpt=random_weights, output_dir=tmp_path / "out"
        )

    @pytest.mark.parametrize("folder", ["nowhere", "empty"])
    def test_a_missing_or_empty_folder(self, segment, tmp_path, folder):
        (tmp_path / "empty").mkdir()
        assert str(tmp_path / folder) in segment(tmp_path / folder)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda file: change(file, set_voxel(np.nan)), "NaN or infinite voxels"),
            (lambda file: file.write_bytes(file.read_bytes()[:-200]), "cannot be read"),
            (lambda file: file.write_bytes(b""), "it is empty"),
            (lambda file: nib.save(nib.Nifti1Image(np.ones((4, 5, 6)), np.eye(4)), file), "different grids"),
        ],
        ids=["nan", "truncated", "empty", "grid"],
    )
    def test_a_bad_case_is_listed_and_the_others_are_done(self, segment, scans, tmp_path, damage, message):
        first, second, third = sorted(path.name for path in scans.iterdir())
        damage(scans / second / f"{second}_t1.nii.gz")
        line = segment(scans)
        assert "2 of 3 cases done, 1 failed" in line
        (failure,) = json.loads((tmp_path / "out" / "failures.json").read_text())
        assert failure["case"] == second and message in failure["reason"]
        assert {path.parent.name for path in (tmp_path / "out").glob("*/*_seg.nii.gz")} == {first, third}

    def test_a_case_without_known_sequence_is_listed(self, segment, scans, tmp_path):
        first = sorted(path.name for path in scans.iterdir())[0]
        for file in (scans / first).glob("*.nii.gz"):
            file.rename(file.with_name(f"scan{len(file.name)}.nii.gz"))
        assert "2 of 3 cases done, 1 failed" in segment(scans)
        (failure,) = json.loads((tmp_path / "out" / "failures.json").read_text())
        assert failure["case"] == first and "no known sequence among" in failure["reason"]


class TestConsole:
    """What a user of the command line sees."""

    def console(self, words, cwd):
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        text = done.stdout + done.stderr
        assert done.returncode == 1
        assert "Traceback" not in text
        return text.strip().splitlines()[-1]

    def test_a_misspelt_argument_is_refused_with_the_nearest(self, command, bundle, tmp_path):
        words = command("training", "train", output_dir=tmp_path / "out") + ["--epoks", "3"]
        assert self.console(words, bundle) == "error: unknown argument --epoks; did you mean --epochs?"
        assert not (tmp_path / "out").exists()

    def test_a_damaged_training_case(self, command, bundle, own_phantoms, tmp_path):
        case = json.loads((own_phantoms / "missing.json").read_text())["training"][0]
        change(own_phantoms / case["label"], set_voxel(9))
        files = {"dataset_dir": own_phantoms, "datalist": own_phantoms / "missing.json"}
        line = self.console(command("training", "train", output_dir=tmp_path / "out", **files), bundle)
        assert line.startswith("error: ") and "holds the labels 9; accepted: 0, 1, 2, 4" in line

    def test_inference_without_scans(self, command, bundle, tmp_path):
        line = self.console(command("inference", "inference", dataset_dir=tmp_path / "nowhere"), bundle)
        assert line.startswith(f"error: {tmp_path / 'nowhere'}: no such folder")


def test_a_loss_that_is_no_number_stops_the_run_before_the_checkpoint(run, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run("training", "train", output_dir=out, epochs=1, lr_horizon=2)
    good = (out / "checkpoint.pt").read_bytes()
    forward = BaselineObjective.forward

    def diverging(objective, output, target, presence):
        terms = forward(objective, output, target, presence)
        return terms | {"loss": terms["loss"] * float("nan")}

    monkeypatch.setattr(BaselineObjective, "forward", diverging)
    monkeypatch.setattr(PassionObjective, "forward", diverging)
    line = refusal(run, "training", "train", output_dir=out, epochs=2, lr_horizon=2, resume=True)
    assert "the loss is not finite in epoch 2, step 5, on BrainPhantom_" in line and "loss nan, segmentation" in line
    assert (out / "checkpoint.pt").read_bytes() == good
