"""``passion predict --register-to`` on a phantom whose header lies."""

import json

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.phantoms.brain import draw_brain
from passion_components.data.reading import registration
from passion_components.data.reading.volumes import read_volume

AFFINE = np.diag([-4.0, -4.0, 5.0, 1.0])
ASKEW = np.eye(4)
ASKEW[:3, 3] = 14, -9, 6


@pytest.fixture
def scans(tmp_path):
    """T1, and a FLAIR of another size that its header places 17.7 mm away."""
    images, _ = draw_brain(1, (44, 44, 32))
    folder = tmp_path / "brains" / "P0"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(images["t1"], AFFINE), folder / "P0_t1.nii.gz")
    nib.save(nib.Nifti1Image(images["flair"][:, :, :-1], ASKEW @ AFFINE), folder / "P0_flair.nii.gz")
    return folder.parent


@pytest.mark.skipif(not registration.is_installed(), reason="itk-elastix is not installed")
def test_what_lies_askew_is_moved_and_the_label_map_lies_on_the_chosen_sequence(passion, scans, tmp_path):
    result = passion(scans, "--register-to", "t1", "--page")
    assert result.exit_code == 0 and "P0: flair aligned to t1: moved by 1" in result.output
    facts = json.loads((tmp_path / "out/P0/predictions.json").read_text())
    assert facts["settings"]["register_to"] == "t1" and set(facts["aligned"]) == {"flair"}
    assert facts["aligned"]["flair"]["millimetres"] == pytest.approx(17.7, abs=1)
    np.testing.assert_allclose(facts["aligned"]["flair"]["matrix"] @ ASKEW, np.eye(4), atol=1.5)
    label_map = read_volume(tmp_path / "out/P0/P0_seg.nii.gz", case="P0")
    assert label_map.grid.matches(read_volume(scans / "P0/P0_t1.nii.gz", case="P0").grid)
    assert "no pictures" not in (tmp_path / "out/predictions.html").read_text()
    assert "1 of 1 cases are done already" in passion(scans, "--register-to", "t1").output


def test_without_elastix_nothing_begins(passion, scans, tmp_path, monkeypatch):
    monkeypatch.setattr(registration, "is_installed", lambda: False)
    result = passion(scans, "--register-to", "t1")
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    assert "pip install 'passion-bundles[register]'" in result.output
