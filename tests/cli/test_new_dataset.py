"""``passion new-dataset``: what the files of a folder tell of their data set, and what is asked."""

import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from passion_components.cli import app
from passion_components.data.layouts.file_names import read_file_name
from passion_components.datasets import dataset_spec


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def write(tmp_path):
    """Write an image of noise in the middle of zeros, or a label map with codes."""

    def image(name, *, codes=(), lengths=(-1.0, -1.0, 2.0), size=(12, 12, 40), background=0.0):
        array = np.full(size, background, np.float32)
        inside = np.random.default_rng(len(name)).uniform(1, 2, (8, 8, 32))
        array[2:10, 2:10, 4:36] = np.resize(codes, (8, 8, 32)) if codes else inside
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([*lengths, 1.0])), path)
        return path

    return image


def made(tmp_path, name="own.json"):
    result = run("new-dataset", "--from", tmp_path / "scans", "--out", tmp_path / name)
    assert result.exit_code == 0, result.output
    return dataset_spec(tmp_path / name), result.output


def test_names_codes_and_grid_come_from_the_files(write, tmp_path):
    for number in range(3):
        for word in ("dwi", "ADC", "T1w"):
            write(f"P{number}/P{number}_{word}.nii.gz")
        write(f"P{number}/P{number}_msk.nii.gz", codes=(0, 4, 9)[: 2 + number % 2])
    write("P1/P1_scout.nii.gz")
    spec, output = made(tmp_path)
    assert (spec.name, spec.modalities, spec.label_words) == ("own", ("adc", "dwi", "t1"), ("msk",))
    assert spec.spellings["t1"] == dataset_spec("brats2020").spellings["t1"]
    assert spec.classes == ("background", "class 4", "class 9") and spec.label_codes == {0: 0, 4: 1, 9: 2}
    assert (spec.spatial_dims, spec.spacing, spec.crop) == (3, (1.0, 1.0, 2.0), (32, 32, 32))
    assert (spec.foreground, spec.crop_to_foreground, spec.skull) == ("nonzero", True, None)
    assert "# sequences by the ends of names: adc (3), dwi (3), t1 (3); take out what is none" in output
    assert "# codes in 3 label maps: 0, 4, 9; name the classes" in output
    assert f"next: passion prepare {tmp_path / 'scans'} --dataset {tmp_path / 'own.json'} --out DIR" in output
    read = [read_file_name(path, spec).key for path in sorted((tmp_path / "scans/P1").iterdir())]
    assert read == ["adc", "t1", "dwi", "label", None]


@pytest.mark.parametrize(("lengths", "kept"), [((-1, -1, 5), "LPS"), ((-1, 6, 1.5), "LSP"), ((5, 1, 1), "PSL")])
def test_thick_slices_are_the_samples_whatever_way_they_were_acquired(write, tmp_path, lengths, kept):
    for number in (1, 2):
        write(f"P{number}_t2.nii", lengths=lengths, background=7)
        write(f"P{number}_adc.nii", lengths=lengths, background=7)
        write(f"P{number}_mask.nii", lengths=lengths, codes=(0, 1))
    spec, _ = made(tmp_path)
    thin = [abs(length) for length in lengths if abs(length) < 5]
    assert (spec.spatial_dims, spec.orientation, list(spec.spacing)) == (2, kept, thin)
    assert (spec.foreground, spec.crop_to_foreground, spec.modalities) == ("above_background", False, ("adc", "t2"))


def test_one_patient_of_bids_is_enough(write, tmp_path):
    for word in ("dwi", "acq-x_adc", "msk"):
        write(f"sub-1_ses-2_{word}.nii.gz", codes=(0, 1) if word == "msk" else ())
    spec, _ = made(tmp_path, "brats2020.json")
    assert (spec.name, spec.modalities, spec.label_words) == ("my_brats2020", ("adc", "dwi"), ("msk",))


def test_a_description_beside_numbered_channels_is_taken(write, tmp_path):
    for number in (1, 2):
        for channel in range(2):
            write(f"imagesTr/prostate_{number:02d}_{channel:04d}.nii.gz")
        write(f"labelsTr/prostate_{number:02d}.nii.gz", codes=(0, 1, 2))
    description = {"channel_names": {"0": "T2", "1": "ADC map"}, "labels": {"background": 0, "PZ": 1, "TZ": 2}}
    (tmp_path / "scans/dataset.json").write_text(json.dumps(description))
    spec, _ = made(tmp_path)
    assert (spec.modalities, spec.classes) == (("t2", "adc_map"), ("background", "PZ", "TZ"))
    result = run("prepare", tmp_path / "scans", "--dataset", tmp_path / "own.json", "--out", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "label scheme own; values in the label files: 0, 1, 2" in result.output


def test_what_a_file_cannot_say_yet_is_told_after_the_questions(write, tmp_path):
    for number in range(2):
        write(f"my scans/P{number}_größe.nii.gz")
        write(f"my scans/P{number}_dwi.nii.gz")
        write(f"my scans/P{number}_seg.nii.gz", codes=(0, 1))
    result = run("new-dataset", "--from", tmp_path / "scans/my scans", "--out", tmp_path / "own.json")
    assert "own.json: modalities: 'größe' cannot name a sequence" in str(result.exception)
    assert f"written: {tmp_path / 'own.json'}\n# sequences by the ends of names: dwi (2), größe (2)" in result.output
    for number in range(2):
        (tmp_path / f"scans/my scans/P{number}_größe.nii.gz").unlink()
    result = run("new-dataset", "--from", tmp_path / "scans/my scans", "--out", tmp_path / "other.json")
    assert f"next: passion prepare '{tmp_path / 'scans/my scans'}' --dataset " in result.output


def test_what_cannot_be_described_is_refused_in_one_line(write, tmp_path):
    def refusal(*arguments):
        message = str(run("new-dataset", *arguments).exception)
        assert "\n" not in message
        return message

    out = ("--out", tmp_path / "own.json")
    assert "none: no such folder" in refusal("--from", tmp_path / "none", *out)
    (tmp_path / "scans").mkdir()
    assert "scans: no images found" in refusal("--from", tmp_path / "scans", *out)
    (tmp_path / "scans/001.nii").touch()
    assert "scans: the names of 1 images, like 001.nii, hold no word" in refusal("--from", tmp_path / "scans", *out)
    (tmp_path / "scans/001.nii").unlink()
    (tmp_path / "scans/P1_dwi.nii.gz").touch()
    assert "scans/P1_dwi.nii.gz cannot be read (it is empty)" in refusal("--from", tmp_path / "scans", *out)
    (tmp_path / "scans/P1_dwi.nii.gz").unlink()
    write("P1_seg.nii", codes=(0, 1))
    assert "every image looks like a label map (seg)" in refusal("--from", tmp_path / "scans", *out)
    assert "own: expected a name that ends in .json" in refusal("--from", tmp_path / "scans", "--out", tmp_path / "own")
    (tmp_path / "own.json").touch()
    assert "own.json: exists already" in refusal("--from", tmp_path / "scans", *out)
