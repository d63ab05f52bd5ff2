"""Loading sequences aligned to one of them; elastix is replaced, what it can do is tested where it is called."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from passion_components.data.errors import CaseError, UserError
from passion_components.data.reading.registration import Alignment
from passion_components.transforms import register
from passion_components.transforms.labels import LoadLabeld
from passion_components.transforms.load import LoadModalitiesd

MODALITIES = ("flair", "t1", "t2")
SHIFTED = np.diag([2.0, 2.0, 2.0, 1.0])
SHIFTED[:3, 3] = 30


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """Stands for elastix: what is moved has its values reversed; returns what was asked for."""
    calls = []

    def align(moving, fixed, *, outside, case):
        calls.append((moving.path.name, fixed.path.name, outside))
        array = fixed.array[::-1].astype(np.float32) + 1
        return replace(moving, array=array, grid=fixed.grid), Alignment(np.eye(4), 3.14, 2.5, 1.1, 1.3)

    monkeypatch.setattr(register, "align", align)
    monkeypatch.setattr(register, "check_can_register", lambda: None)
    return calls


@pytest.fixture
def load():
    return register.loading(MODALITIES, register_to="t1")


@pytest.fixture
def files(save, brain):
    """Only T1 has the grid of 1 mm."""
    return {"flair": save("flair.nii", brain[2:], SHIFTED), "t1": save("t1.nii", 2 * brain, np.eye(4))}


def test_the_others_are_aligned_and_the_chosen_one_stays_with_its_grid(load, files, brain, asked, caplog):
    with caplog.at_level(logging.INFO):
        item = load({"case": "P1", **files})
    assert asked == [("flair.nii", "t1.nii", 0.0)]
    image = item["image"]
    assert np.array_equal(image[1].as_tensor(), 2 * brain) and np.array_equal(image[0].as_tensor(), 2 * brain[::-1] + 1)
    assert image.meta["filename_or_obj"] == files["t1"] and np.array_equal(image.affine, np.eye(4))
    assert item["presence"].tolist() == [True, True, False]
    assert set(item["aligned"]) == {"flair"} and item["aligned"]["flair"]["millimetres"] == 3.14
    assert "P1: flair aligned to t1: moved by 3.1 mm, turned by 2.5 degrees" in caplog.text


def test_they_are_aligned_even_where_they_share_a_grid(load, save, brain, asked):
    load({"case": "P1", "t1": save("t1.nii", brain), "t2": save("t2.nii", brain * 2)})
    assert asked == [("t2.nii", "t1.nii", 0.0)]


def test_beyond_a_sequence_lies_its_own_background(files, save, brain, asked):
    load = register.loading(MODALITIES, register_to="t1", foreground="above_background")
    load({"case": "P1", "t1": files["t1"], "t2": save("t2.nii", np.pad(brain, 3) + 40, SHIFTED)})
    assert asked == [("t2.nii", "t1.nii", 40.0)]


def test_a_constant_sequence_is_absent_and_not_aligned(load, files, save, brain, asked, caplog):
    item = load({"case": "P1", "t1": files["t1"], "t2": save("t2.nii", 0 * brain + 3, SHIFTED)})
    assert asked == [] and item["presence"].tolist() == [False, True, False]
    assert "P1: t2.nii is constant; t2 counts as absent" in caplog.text


def test_one_sequence_needs_no_other(load, files, asked):
    item = load({"case": "P1", "flair": files["flair"]})
    assert asked == [] and item["aligned"] == {} and item["image"].meta["filename_or_obj"] == files["flair"]


def test_labels_lie_on_the_chosen_sequence(load, files, save, brain):
    def item(affine):
        label = save("seg.nii", (brain > 50).astype(np.uint8), affine)
        return {**LoadLabeld(to="target", label_codes={0: 0, 1: 1})({"case": "P1", "label": label}), **files}

    assert torch.equal(load(item(np.eye(4)))["target"][0].as_tensor() > 0, torch.from_numpy(brain > 50))
    with pytest.raises(CaseError, match="P1: its files lie on different grids"):
        load(item(SHIFTED))


def test_a_chosen_sequence_that_is_absent_or_constant_is_refused(load, files, save, brain):
    with pytest.raises(CaseError, match="^P1: t1, to which its .* is absent; accepted: flair, t2$"):
        load({"case": "P1", "flair": files["flair"], "t2": save("t2.nii", brain * 3)})
    with pytest.raises(CaseError, match="^P1: t1.nii is constant, so nothing .*; accepted: one of flair$"):
        load({"case": "P1", "flair": files["flair"], "t1": save("t1.nii", 0 * brain)})


def test_without_a_choice_headers_count(files, asked):
    load = register.loading(MODALITIES, resample_to="t1")
    assert type(load) is LoadModalitiesd and load.resample_to == "t1"
    load({"case": "P1", **files})
    assert asked == []


def test_what_makes_no_sense_is_refused_at_once(monkeypatch):
    with pytest.raises(UserError, match="^--register-to t1 with --resample-to t2: .* leave --resample-to out$"):
        register.loading(MODALITIES, register_to="t1", resample_to="t2")
    with pytest.raises(ValueError, match="register_to must be one of flair, t1, t2, got 'pd'"):
        register.loading(MODALITIES, register_to="pd")
    monkeypatch.undo()
    monkeypatch.setattr("passion_components.data.reading.registration.is_installed", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'passion-bundles\[register\]'$"):
        register.loading(MODALITIES, register_to="t1")
