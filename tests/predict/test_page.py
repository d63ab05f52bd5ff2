import base64
import io
import json
import re
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageColor

from passion_components.datasets import TCGA_LGG
from passion_components.predict.slices import MAX_SLICES, WIDTH, frames_of
from passion_components.reports.figures import COLOURS


@pytest.fixture
def drawn(tmp_path):
    """Frames of a bright box whose inner part was found, in volumes of a size."""

    def draw(size, affine):
        image, labels = np.zeros(size, np.int16), np.zeros(size, np.uint8)
        image[2:-2, 2:-2] = np.random.default_rng(0).integers(400, 600, image[2:-2, 2:-2].shape)
        labels[4:8, 4:8, 5] = 1
        for name, values in (("t1", image), ("seg", labels)):
            nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
        return frames_of("P1", {"t1": str(tmp_path / "t1.nii.gz")}, tmp_path / "seg.nii.gz", TCGA_LGG)

    return draw


def pixels(frame):
    return np.asarray(Image.open(io.BytesIO(frame.jpeg)).convert("RGB")).astype(int)


def coloured(picture):
    return np.argwhere(np.abs(picture - ImageColor.getrgb(COLOURS[0])).sum(-1) < 90)


def test_outlines_are_where_something_was_found_and_nowhere_else(drawn):
    frames, best = drawn((24, 24, 8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert [frame.number for frame in frames] == list(range(1, 9)) and best == 6
    counts = {frame.number: len(coloured(pixels(frame))) for frame in frames}
    assert counts.pop(6) > 20 and max(counts.values()) == 0
    low, high = coloured(pixels(frames[5])).min(0), coloured(pixels(frames[5])).max(0)
    per_voxel = WIDTH / 24
    np.testing.assert_allclose([*low, *high], [4 * per_voxel] * 2 + [8 * per_voxel] * 2, atol=2)


def test_pictures_have_the_proportions_of_the_patient(drawn):
    frames, _ = drawn((24, 24, 8), np.diag([-1.0, -2.0, 1.0, 1.0]))
    assert pixels(frames[0]).shape == (2 * WIDTH, WIDTH, 3)


def test_of_many_slices_some_are_shown_and_the_best_is_among_them(drawn):
    frames, best = drawn((24, 24, 300), np.diag([-1.0, -1.0, 1.0, 1.0]))
    numbers = [frame.number for frame in frames]
    assert best in numbers and {1, 300} <= set(numbers) and len(numbers) <= MAX_SLICES + 1


@pytest.fixture
def page(passion, scans, tmp_path):
    result = passion(scans, "--page")
    assert result.exit_code == 0, result.output
    return tmp_path / "out" / "predictions.html"


def test_the_page_shows_every_case_and_asks_for_nothing_else(page):
    text = page.read_text()
    assert len(re.findall('class="stack"', text)) == 3 and len(re.findall("<figure id=", text)) == 9
    assert "give flair too if you can" in text and "0.83 (t1+flair, 17 cases of tcga_lgg)" in text
    facts = json.loads((page.parent / "P0/predictions.json").read_text())
    assert f"{facts['regions']['lesion']['millilitres']:.1f} ml" in text
    assert "<script" not in text and not re.search(r'(src|href)="(?!#|data:image/)', text)
    assert "default-src 'none'" in text
    for picture in re.findall(r"data:image/jpeg;base64,([^\"]+)", text):
        Image.open(io.BytesIO(base64.b64decode(picture))).verify()


def test_a_file_of_somebody_else_is_not_replaced(passion, scans, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.html").write_text("mine")
    result = passion(scans / "P2", "--page")
    assert result.exit_code == 2 and "exists already and was not written by this program" in result.output
    assert (tmp_path / "out" / "predictions.html").read_text() == "mine"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_chromium_lays_the_slices_out_as_one_box(page, tmp_path):
    shot = tmp_path / "shot.png"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1400"]
    subprocess.run([*command, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True, timeout=60)
    picture = np.asarray(Image.open(shot).convert("L"))
    assert (picture < 30).mean() > 0.1 and (picture > 240).mean() > 0.1
