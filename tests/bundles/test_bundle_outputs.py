"""What a bundle writes: ground truth beside the scans stays, and an empty result says what to check."""

import json
import shutil

import nibabel as nib
import pytest
import torch

from passion_components.engines.failures import error_line


@pytest.fixture
def scans(phantoms, tmp_path):
    """A folder with the first test case, its label map beside its sequences."""
    case = json.loads((phantoms / "datalist.json").read_text())["test"][0]["case"]
    shutil.copytree(phantoms / case, tmp_path / "scans" / case)
    return tmp_path / "scans", tmp_path / "scans" / case / f"{case}_seg.nii.gz"


def test_the_truth_is_not_replaced_by_inference_into_the_folder_of_the_scans(run, random_weights, scans):
    folder, truth = scans
    before = truth.read_bytes()
    with pytest.raises(RuntimeError) as stop:
        run("inference", "inference", dataset_dir=folder, output_dir=folder, ckpt=random_weights)
    assert str(error_line(stop.value)).startswith("0 of 1 cases done, 1 failed")
    assert truth.read_bytes() == before
    (failure,) = json.loads((folder / "failures.json").read_text())
    assert "exists already and was not written by this program" in failure["reason"]


def test_a_result_names_its_files_and_an_empty_one_says_what_to_check(run, random_weights, scans, tmp_path, caplog):
    folder, truth = scans
    state = torch.load(random_weights, weights_only=True)
    empty = {name: value * 0 for name, value in state.items()}  # equal logits: the first class, background
    torch.save(empty, tmp_path / "empty.pt")
    caplog.set_level("INFO")
    run("inference", "inference", dataset_dir=folder, output_dir=tmp_path / "out", ckpt=tmp_path / "empty.pt")
    case = truth.parent.name
    written = nib.load(tmp_path / "out" / case / f"{case}_seg.nii.gz")
    assert not written.get_fdata().any() and written.header["descrip"].item().startswith(b"passion-bundles")
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "nothing found" in r.message]
    assert warning.startswith(f"{case}: nothing found") and "orientation" in warning
    (line,) = [r.getMessage() for r in caplog.records if r.message.startswith(f"{case}: from flair+t1ce+t1+t2")]
    assert all(f"{case}_{name}.nii.gz" in line for name in ("flair", "t1ce", "t1", "t2"))


def test_the_default_run_is_that_of_the_file_and_may_be_repeated(run, random_weights, scans, tmp_path):
    out = tmp_path / "out"
    workflow = run("run", "inference", dataset_dir=scans[0], output_dir=out, ckpt=random_weights)
    first = {path.relative_to(out): path.read_bytes() for path in out.glob("*/*_seg.nii.gz")}
    shutil.rmtree(out)
    workflow.run()
    assert first == {path.relative_to(out): path.read_bytes() for path in out.glob("*/*_seg.nii.gz")} != {}
