import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from passion_components.data.lists.datalist import Datalist, check_files_exist, presence_table
from passion_components.data.phantoms import brain
from passion_components.data.phantoms.brain import draw_brain, write_brain_phantoms
from passion_components.datasets import BRATS2020

SIZE = (32, 32, 32)


@pytest.fixture(scope="module")
def patients():
    return [draw_brain(number, SIZE) for number in range(1, 13)]


def mean_where(patients, modality, mask_of):
    return np.mean([images[modality][mask_of(label, images)].mean() for images, label in patients])


class TestDrawnPatient:
    def test_has_the_sequences_of_the_data_set_in_file_types(self, patients):
        images, label = patients[0]
        assert set(images) == set(BRATS2020.modalities)
        assert all(image.dtype == np.int16 and image.shape == SIZE for image in images.values())
        assert label.dtype == np.uint8 and label.shape == SIZE

    def test_every_lesion_has_every_code_and_no_other(self, patients):
        assert all(np.unique(label).tolist() == [0, 1, 2, 4] for _, label in patients)

    def test_zero_means_outside_in_every_sequence(self, patients):
        for images, label in patients:
            inside = images["t1"] != 0
            assert all(np.array_equal(image != 0, inside) for image in images.values())
            assert all(image.min() == 0 for image in images.values())
            assert inside[label > 0].all()
            assert not inside[0].any() and not inside[-1].any()

    def test_the_darkest_voxel_inside_is_not_zero(self, patients, monkeypatch):
        monkeypatch.setattr(brain, "FILE_SCALE", 0.1)
        assert np.array_equal(draw_brain(1, SIZE)[0]["t1"] != 0, patients[0][0]["t1"] != 0)

    def test_the_enhancing_rim_has_gaps(self, patients):
        touching = [(binary_dilation(label == 1) & (label == 2)).sum() / (label == 2).sum() for _, label in patients]
        assert np.mean(touching) > 0.04

    def test_ventricles_are_never_tumour(self):
        # At 17 voxels a side the 8th and 10th along x lie at -+.118, inside the smallest ventricle at any position.
        labels = [draw_brain(number, (17, 17, 17))[1] for number in range(1, 21)]
        assert not any(label[[7, 9], 8, 8].any() for label in labels)
        assert any(label[[5, 11], 8, 8].any() for label in labels)

    def test_brain_and_tumour_have_plausible_sizes(self, patients):
        for images, label in patients:
            brain_share = (images["t1"] != 0).mean()
            assert 0.2 < brain_share < 0.45 and 0.02 < (label > 0).mean() / brain_share < 0.45


class TestContrasts:
    @staticmethod
    def healthy(label, images):
        return (images["t1"] != 0) & (label == 0)

    def test_edema_is_bright_on_flair(self, patients):
        edema = mean_where(patients, "flair", lambda label, _: label == 2)
        assert edema > 1.4 * mean_where(patients, "flair", self.healthy)

    def test_enhancing_tumour_is_the_brightest_on_t1ce(self, patients):
        enhancing = mean_where(patients, "t1ce", lambda label, _: label == 4)
        for mask in (self.healthy, lambda label, _: label == 1, lambda label, _: label == 2):
            assert enhancing > 1.2 * mean_where(patients, "t1ce", mask)

    def test_only_t1ce_tells_enhancing_tumour_from_healthy_t1(self, patients):
        t1 = mean_where(patients, "t1", lambda label, _: label == 4)
        assert t1 < mean_where(patients, "t1ce", lambda label, _: label == 4) / 1.4

    def test_necrosis_is_bright_on_t2_and_dark_on_t1(self, patients):
        def ratio(modality):
            necrosis = mean_where(patients, modality, lambda label, _: label == 1)
            return necrosis / mean_where(patients, modality, lambda label, _: label == 2)

        assert ratio("t2") > 1.0 > ratio("t1") and ratio("flair") < 0.9

    def test_confounders_raise_only_their_sequences(self, monkeypatch):
        with_them = [draw_brain(number, SIZE) for number in (1, 2, 3, 4)]
        nothing = {name: {} for name in brain.CONFOUNDERS}
        monkeypatch.setattr(brain, "CONFOUNDERS", nothing)
        without = [draw_brain(number, SIZE) for number in (1, 2, 3, 4)]
        changed = {
            name: any((a[0][name] != b[0][name]).any() for a, b in zip(with_them, without, strict=True))
            for name in BRATS2020.modalities
        }
        assert changed == {"flair": True, "t1ce": True, "t1": False, "t2": True}
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(with_them, without, strict=True))


class TestDeterminism:
    def test_a_case_is_a_function_of_its_number_and_the_seed(self, patients):
        again, label = draw_brain(7, SIZE)
        assert np.array_equal(label, patients[6][1])
        assert all(np.array_equal(again[name], patients[6][0][name]) for name in again)
        assert not np.array_equal(draw_brain(7, SIZE, seed=1)[1], label)
        assert not np.array_equal(patients[5][1], label)

    def test_another_sequence_changes_nothing_else(self, patients, monkeypatch):
        monkeypatch.setattr(brain, "INTENSITY", {"dwi": brain.INTENSITY["t2"], **brain.INTENSITY})
        images, label = draw_brain(1, SIZE)
        assert "dwi" in images and np.array_equal(label, patients[0][1])
        assert all(np.array_equal(images[name], patients[0][0][name]) for name in BRATS2020.modalities)

    def test_the_same_patient_at_another_resolution(self):
        coarse, fine = draw_brain(3, (24, 24, 24))[1], draw_brain(3, (72, 72, 72))[1]
        assert (coarse == fine[1::3, 1::3, 1::3]).mean() > 0.99

    def test_sizes_may_differ_between_axes(self):
        images, label = draw_brain(1, (16, 24, 20))
        assert label.shape == images["t2"].shape == (16, 24, 20)


@pytest.mark.parametrize("size", [(15, 32, 32), (32, 32, 156), (241, 32, 32), (32, 32)])
def test_sizes_out_of_range_are_refused_in_words(size):
    with pytest.raises(ValueError, match="cannot be drawn: expected .* from 16x16x16 to 240x240x155"):
        draw_brain(1, size)


def test_case_numbers_start_at_one():
    with pytest.raises(ValueError, match="case numbers start at 1"):
        draw_brain(0, SIZE)


class TestFiles:
    def test_layout_names_codes_and_geometry_are_those_of_brats2020(self, tmp_path):
        write_brain_phantoms(tmp_path / "d", cases=1, size=(16, 20, 18))
        folder = tmp_path / "d" / "BrainPhantom_001"
        assert sorted(path.name for path in folder.iterdir()) == [
            f"BrainPhantom_001_{key}.nii.gz" for key in ("flair", "seg", "t1", "t1ce", "t2")
        ]
        for path in folder.iterdir():
            image = nib.load(path)
            assert image.get_data_dtype() == np.int16 and image.shape == (16, 20, 18)
            expected = [[-1, 0, 0, 0], [0, -1, 0, 19], [0, 0, 1, 0], [0, 0, 0, 1]]
            assert image.affine.tolist() == expected and nib.aff2axcodes(image.affine) == ("L", "P", "S")
            assert image.header.get_xyzt_units()[0] == "mm"

    def test_files_hold_what_was_drawn(self, tmp_path):
        write_brain_phantoms(tmp_path / "d", cases=2, size=(16, 16, 16), seed=5)
        images, label = draw_brain(2, (16, 16, 16), 5)
        stem = str(tmp_path / "d" / "BrainPhantom_002" / "BrainPhantom_002")
        assert np.array_equal(np.asanyarray(nib.load(f"{stem}_seg.nii.gz").dataobj), label)
        for name, image in images.items():
            assert np.array_equal(np.asanyarray(nib.load(f"{stem}_{name}.nii.gz").dataobj), image)

    def test_a_case_is_the_same_file_whatever_their_number(self, tmp_path):
        for count in (2, 3):
            write_brain_phantoms(tmp_path / str(count), cases=count, size=(16, 16, 16))
        one, other = (tmp_path / count / "BrainPhantom_002" / "BrainPhantom_002_t1.nii.gz" for count in "23")
        assert one.read_bytes() == other.read_bytes()

    def test_datalist_is_split_and_complete(self, tmp_path):
        seen = []
        path = write_brain_phantoms(tmp_path, cases=10, size=(16, 16, 16), progress=seen.append)
        parts = Datalist(path).parts(BRATS2020.modalities)
        assert {part: len(cases) for part, cases in parts.items()} == {"training": 7, "validation": 1, "test": 2}
        cases = [case for part in parts.values() for case in part]
        check_files_exist(cases)
        assert sorted(case["case"] for case in cases) == seen
        assert presence_table(cases, BRATS2020.modalities).all() and all("label" in case for case in cases)

    def test_a_folder_with_something_in_it_is_left_alone(self, tmp_path):
        (tmp_path / "mine.txt").write_text("x")
        with pytest.raises(ValueError, match="not an empty folder; name a new folder"):
            write_brain_phantoms(tmp_path, cases=1, size=SIZE)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_no_cases_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="must be 1 or more, got 0"):
            write_brain_phantoms(tmp_path, cases=0, size=SIZE)
