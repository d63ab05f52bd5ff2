"""Every layout, built from the same small phantoms, gives the same cases."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.prepare import prepare_cases
from passion_components.data.phantoms.brain import write_brain_phantoms
from passion_components.data.phantoms.heart import write_heart_phantoms
from passion_components.datasets import BRATS2020, MYOPS2020, dataset_spec
from passion_components.transforms.labels import LoadLabeld
from passion_components.transforms.load import LoadModalitiesd

ALL = {"training": 1.0}
COUNT = 3


@pytest.fixture(scope="session")
def brains(tmp_path_factory):
    """Entries of a datalist, and what they load to, by case number."""
    datalist = write_brain_phantoms(tmp_path_factory.mktemp("brains") / "b", cases=COUNT, size=(16, 16, 16), split=ALL)
    return loaded(datalist, BRATS2020)


@pytest.fixture(scope="session")
def hearts(tmp_path_factory):
    datalist = write_heart_phantoms(tmp_path_factory.mktemp("hearts") / "h", cases=COUNT, size=(32, 32), split=ALL)
    return loaded(datalist, MYOPS2020)


def loaded(datalist, spec, scheme=None):
    cases = Datalist(datalist).parts(spec.modalities)["training"]
    read_label = LoadLabeld(to="target", label_codes=spec.codes(scheme))
    read = LoadModalitiesd(spec.modalities)
    return [(case, read(read_label(case))) for case in cases]


def link(source, target, transform=None):
    """Put a phantom's image where a layout wants it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    image = nib.load(source)
    array = np.asanyarray(image.dataobj)
    nib.save(nib.Nifti1Image(array if transform is None else transform(array), image.affine), target)


def recode(**codes):
    return lambda array: np.select([array == int(old[1:]) for old in codes], list(codes.values()), 0).astype(np.uint8)


def named(pattern, words, label=None, **codes):
    """A layout of files whose names say what they are."""

    def build(root, cases):
        for number, (case, _) in enumerate(cases, 1):
            for key, word in words.items():
                transform = recode(**codes) if key == "label" and codes else None
                of_label = label is not None and key == "label"
                link(case[key], root / (label if of_label else pattern).format(n=number, word=word), transform)

    return build


BRATS_WORDS = {"flair": "flair", "t1ce": "t1ce", "t1": "t1", "t2": "t2", "label": "seg"}
NEW_WORDS = {"flair": "t2f", "t1ce": "t1c", "t1": "t1n", "t2": "t2w", "label": "seg"}
ET_3 = {"_1": 1, "_2": 2, "_4": 3}


def brats_2020_with_case_355(root, cases):
    named("MICCAI/BraTS20_Training_{n:03d}/BraTS20_Training_{n:03d}_{word}.nii", BRATS_WORDS)(root, cases)
    folder = root / "MICCAI/BraTS20_Training_002"
    (folder / "BraTS20_Training_002_seg.nii").rename(folder / "W39_1998.09.19_Segm.nii")
    (root / "MICCAI/name_mapping.csv").write_text("a,b\n")


def msd(root, cases):
    for number, (case, _) in enumerate(cases, 1):
        channels = [nib.load(case[name]) for name in ("flair", "t1", "t1ce", "t2")]
        stack = np.stack([np.asanyarray(image.dataobj) for image in channels], -1)
        (root / "imagesTr").mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(stack, channels[0].affine), root / f"imagesTr/BRATS_{number:03d}.nii.gz")
        link(case["label"], root / f"labelsTr/BRATS_{number:03d}.nii.gz", recode(_2=1, _1=2, _4=3))
        (root / f"imagesTr/._BRATS_{number:03d}.nii.gz").write_bytes(b"\0")
    names = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    description = {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, "labels": names}
    (root / "dataset.json").write_text(json.dumps(description))


def nnunet(root, cases):
    order = {"t1": 0, "t1ce": 1, "t2": 2, "flair": 3}
    for number, (case, _) in enumerate(cases, 1):
        for name, channel in order.items():
            link(case[name], root / f"imagesTr/BraTS_{number:04d}_{channel:04d}.nii.gz")
        link(case["label"], root / f"labelsTr/BraTS_{number:04d}.nii.gz", recode(**ET_3))
    names = {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}
    labels = {"background": 0, "whole tumor": [1, 2, 3], "edema": 2}
    (root / "dataset.json").write_text(json.dumps({"channel_names": names, "labels": labels}))


def table(root, cases):
    rows = ["t2,case,Label,T1Gd,flair,t1"]
    for number, (case, _) in enumerate(cases, 1):
        for key in BRATS_WORDS:
            link(case[key], root / f"files/{key}/{number}.nii.gz")
        rows.append(
            ",".join(
                [
                    f"files/t2/{number}.nii.gz",
                    f"P{number}",
                    *(f"files/{key}/{number}.nii.gz" for key in ("label", "t1ce", "flair", "t1")),
                ]
            )
        )
    (root / "cases.csv").write_text("\n".join(rows))


LAYOUTS = {
    "BraTS 2018": (named("HGG/Brats18_{n}/Brats18_{n}_{word}.nii.gz", BRATS_WORDS), "brats2020"),
    "BraTS 2020": (brats_2020_with_case_355, "brats2020"),
    "BraTS 2021": (named("BraTS2021_{n:05d}/BraTS2021_{n:05d}_{word}.nii.gz", BRATS_WORDS), "brats2020"),
    "T1Gd": (named("{n}/TCGA-{n}_{word}.nii.gz", BRATS_WORDS | {"t1ce": "t1Gd", "flair": "FLAIR"}), "brats2020"),
    "BraTS 2023": (named("BraTS-GLI-{n:05d}-000/BraTS-GLI-{n:05d}-000-{word}.nii.gz", NEW_WORDS, **ET_3), "brats2023"),
    "BraTS 2024": (
        named("BraTS-GLI-{n:05d}-100/BraTS-GLI-{n:05d}-100-{word}.nii.gz", NEW_WORDS, **ET_3, _0=4),
        "brats2024",
    ),
    "MSD": (msd, "msd"),
    "nnU-Net": (nnunet, "brats2023"),
    "table": (table, "brats2020"),
    "patterns": (named("{n}/scan {word}.nii", BRATS_WORDS), "brats2020"),
}
PATTERNS = [f"{key}=*/scan {word}.nii" for key, word in BRATS_WORDS.items()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_of_brains_loads_to_the_phantoms(layout, brains, tmp_path):
    build, scheme = LAYOUTS[layout]
    build(tmp_path / "src", brains)
    source = tmp_path / "src" / ("cases.csv" if layout == "table" else "")
    patterns = PATTERNS if layout == "patterns" else ()
    done = prepare_cases(source, tmp_path / "out", BRATS2020, split=ALL, seed=0, patterns=patterns)
    assert done.label_scheme == Datalist(done.datalist).label_scheme == scheme
    assert [note for note in done.notes if "W39" not in note] == []
    found = loaded(done.datalist, BRATS2020, scheme)
    assert len(found) == COUNT
    for (case, item), (_, expected) in zip(found, brains, strict=True):
        assert str(Path(case["flair"]).absolute()) == case["flair"]
        assert np.array_equal(item["image"], expected["image"]) and np.array_equal(item["target"], expected["target"])
        assert item["presence"].all()


def test_brains_of_2021_are_a_data_set_with_the_codes_of_2020(brains, tmp_path):
    build, _ = LAYOUTS["BraTS 2021"]
    build(tmp_path / "src", brains)
    spec = dataset_spec("brats2021")
    done = prepare_cases(tmp_path / "src", tmp_path / "out", spec, split=ALL, seed=0)
    datalist = Datalist(done.datalist)
    assert datalist.dataset() == spec and datalist.label_scheme == "brats2021" and done.notes == []
    assert (spec.spacing, spec.crop) == ((2.0, 2.0, 2.0), (48, 48, 48))
    same = {"spacing": BRATS2020.spacing, "crop": BRATS2020.crop, "name": BRATS2020.name}
    assert replace(spec, **same) == BRATS2020


def test_the_hearts_of_2020_load_to_the_phantoms(hearts, tmp_path):
    words = {"bssfp": "C0", "lge": "DE", "t2": "T2", "label": "gd"}
    name = "myops_training_10{n}_{word}.nii.gz"
    named(f"train25/{name}", words, label=f"train25_myops_gd/{name}")(tmp_path / "src", hearts)
    shutil.copy(hearts[0][0]["t2"], tmp_path / "src/myops_test_201_T2.nii.gz")
    done = prepare_cases(tmp_path / "src", tmp_path / "out", MYOPS2020, split=ALL, seed=0)
    assert done.notes == ["myops_test_201: no label map, expected <case>_{seg,segm,gd,label,mask}; left out"]
    found = loaded(done.datalist, MYOPS2020)
    assert [case["case"] for case, _ in found] == [f"myops_training_10{n}" for n in (1, 2, 3)]
    for (_, item), (_, expected) in zip(found, hearts, strict=True):
        assert np.array_equal(item["image"], expected["image"]) and np.array_equal(item["target"], expected["target"])
