"""One chain from a case's files to a network's input, whatever the program."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from passion_components.data.lists.datalist import Datalist
from passion_components.engines.settings import settings_of

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
DATASETS = {"brats2020": "phantoms", "myops2020": "heart_phantoms", "tcga_lgg": "slice_phantoms"}


def chain(dataset, program, **settings):
    """The preprocessing of a bundle's program, as its config makes it."""
    files = {"training": ["train"], "evaluating": ["train", "evaluate"], "inference": ["inference"]}[program]
    parser = ConfigParser()
    parser.read_config([BUNDLES / f"{dataset}_rfnet" / "configs" / f"{name}.json" for name in files])
    parser.update({"roi_size": [16, 16, 16] if dataset == "brats2020" else [16, 16], **settings})
    return parser.get_parsed_content("preprocessing")


@pytest.fixture(params=DATASETS)
def dataset(request):
    return request.param


@pytest.fixture
def case(dataset, request):
    """A test case: name and files of its sequences."""
    folder = request.getfixturevalue(DATASETS[dataset])
    spec = ConfigParser.load_config_file(BUNDLES / f"{dataset}_rfnet" / "configs" / "train.json")
    modalities = ConfigParser(spec).get_parsed_content("modalities")
    entry = Datalist(folder / "datalist.json").cases("test", modalities)[0]
    return {key: value for key, value in entry.items() if key != "label"}


def with_images(case, folder, change):
    """The case with changed values in its files."""
    folder.mkdir()
    changed = {"case": case["case"]}
    for name, path in case.items():
        if name != "case":
            image = nib.load(path)
            changed[name] = str(folder / f"{name}.nii.gz")
            nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), changed[name])
    return changed


def test_training_evaluation_and_inference_see_the_same(dataset, case):
    images = [chain(dataset, program)(dict(case))["image"] for program in ("training", "evaluating", "inference")]
    assert torch.equal(images[0].as_tensor(), images[1].as_tensor())
    assert torch.equal(images[0].as_tensor(), images[2].as_tensor())


def test_all_programs_use_that_chain(dataset):
    configs = BUNDLES / f"{dataset}_rfnet" / "configs"
    train = json.loads((configs / "train.json").read_text())
    inference = json.loads((configs / "inference.json").read_text())
    assert train["preprocessing"] == inference["preprocessing"]
    assert "@preprocessing" in train["train"]["dataset"]["preprocessing"]["transforms"]
    assert "@preprocessing" in train["validate"]["dataset"]["preprocessing"]["transforms"]
    assert inference["dataset"]["preprocessing"] == "@preprocessing"


@pytest.mark.parametrize("spacing", [None, 2.0])
def test_the_chain_listed_is_what_the_data_set_asks_for(dataset, spacing):
    """The literals of train.json, against the overlay that asks the data set's file for each of them."""
    parsers = []
    for names in (("train",), ("train", "own_data")):
        parser = ConfigParser()
        parser.read_config([BUNDLES / f"{dataset}_rfnet" / "configs" / f"{name}.json" for name in names])
        if spacing is not None:
            parser["spacing"] = [spacing] * (3 if dataset == "brats2020" else 2)
        parsers.append(parser)
    for key in ("modalities", "spacing", "roi_size"):
        first, second = (parser.get_parsed_content(key) for parser in parsers)
        assert first == second
    listed, asked = (parser.get_parsed_content("preprocessing") for parser in parsers)
    assert settings_of(listed) == settings_of(asked)
    assert [type(step) for step in listed.transforms] == [type(step) for step in asked.transforms]
    networks = [parser.get_parsed_content("network_def").settings for parser in parsers]
    assert networks[0] == networks[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.astype(np.float32),
        lambda array: 3 * array.astype(np.int32),
        lambda array: 0.25 * array.astype(np.float64),
    ],
    ids=["float", "three times", "a quarter"],
)
def test_type_and_scale_of_the_values_do_not_matter(dataset, case, tmp_path, change):
    steps = chain(dataset, "inference")
    expected = steps(dict(case))["image"].as_tensor()
    found = steps(with_images(case, tmp_path / "changed", change))["image"].as_tensor()
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("dataset", ["brats2020", "myops2020"], indirect=True)
def test_an_offset_of_the_foreground_does_not_matter_where_it_is_what_is_not_zero(dataset, case, tmp_path):
    steps = chain(dataset, "inference", spacing=[-1.0] * (3 if dataset == "brats2020" else 2))
    expected = steps(dict(case))["image"].as_tensor()

    def offset(array):
        return np.where(array == 0, 0, 2 * array.astype(np.int32) + 777)

    found = steps(with_images(case, tmp_path / "changed", offset))["image"].as_tensor()
    foreground = found != found.amin(tuple(range(1, found.ndim)), keepdim=True)
    assert foreground.any() and torch.allclose(found[foreground], expected[foreground], atol=1e-4)


@pytest.mark.parametrize("resampled", [False, True], ids=["one grid", "resampled"])
@pytest.mark.parametrize(("gain", "offset"), [(1, 1024), (1, -1024), (1 / 128, -1), (3, 7)])
@pytest.mark.parametrize("dataset", ["tcga_lgg"], indirect=True)
def test_gain_and_offset_do_not_matter_where_foreground_is_what_differs_from_the_background(
    case, tmp_path, gain, offset, resampled
):
    """With room around the scan, and beside it where another sequence's grid reaches further."""

    def image_of(case):
        names = [name for name in case if name != "case"]
        if resampled:
            image = nib.load(case[names[0]])
            larger = nib.Nifti1Image(np.pad(np.asarray(image.dataobj), 4, mode="edge"), image.affine)
            nib.save(larger, tmp_path / "larger.nii.gz")
            case = {**case, names[0]: str(tmp_path / "larger.nii.gz")}
        settings = {"spacing": [11.52, 11.52], "roi_size": [64, 64], "resample_to": names[0] if resampled else None}
        return chain("tcga_lgg", "inference", **settings)(dict(case))["image"].as_tensor()

    changed = with_images(case, tmp_path / "changed", lambda array: gain * array.astype(np.float32) + offset)
    expected = image_of(case)
    assert expected.shape[1:3] == (64, 64) and torch.allclose(image_of(changed), expected, atol=2e-3)


@pytest.mark.parametrize(("spacing", "warned"), [((1, 1, 1), False), ((5, 1, 1), True)])
def test_whether_slices_are_axial_is_judged_by_the_scan_before_it_is_resampled(tmp_path, caplog, spacing, warned):
    values = np.random.default_rng(0).integers(1, 99, (24, 24, 24)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([*spacing, 1])), tmp_path / "t1.nii")
    chain("tcga_lgg", "inference", spacing=[2.4, 2.4])({"case": "P1", "t1": str(tmp_path / "t1.nii")})
    assert ("P1: acquired in sagittal slices, 5.00 mm apart" in caplog.text) == warned
    assert len(caplog.records) == int(warned)


def test_a_skull_is_told_where_brains_are_expected(case, tmp_path, caplog, dataset):
    def with_air(array):
        return np.where(array == 0, 1, array)

    spoiled = with_images(case, tmp_path / "air", with_air)
    chain(dataset, "inference")(spoiled)
    assert ("has a background that is not 0, as around a skull" in caplog.text) == (dataset == "brats2020")
