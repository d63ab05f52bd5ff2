import nibabel as nib
import numpy as np
import pytest

from passion_components.data.lists.datalist import Datalist, check_files_exist, presence_table
from passion_components.data.phantoms import heart
from passion_components.data.phantoms.heart import draw_heart, write_heart_phantoms
from passion_components.datasets import MYOPS2020

SIZE = (48, 48)
LV_BLOOD, RV_BLOOD, MYOCARDIUM, EDEMA, SCAR = 500, 600, 200, 1220, 2221


@pytest.fixture(scope="module")
def patients():
    return [draw_heart(number, SIZE) for number in range(1, 13)]


def mean_of(patients, modality, *codes):
    """Mean value over the patients of what carries one of the codes, in units of the tables."""
    means = [images[modality][np.isin(label, codes)].mean() for images, label, _ in patients]
    return np.mean(means) / heart.FILE_SCALE


class TestDrawnPatient:
    def test_has_the_sequences_of_the_data_set_in_file_types(self, patients):
        for images, label, _ in patients:
            assert tuple(images) == MYOPS2020.modalities
            assert all(image.dtype == np.int16 and image.shape == label.shape for image in images.values())
            assert label.dtype == np.int16

    def test_every_heart_has_every_code_and_no_other(self, patients):
        assert all(set(np.unique(label)) == set(MYOPS2020.label_codes) for _, label, _ in patients)

    def test_no_voxel_is_zero(self, patients, monkeypatch):
        assert all(image.min() > 0 for images, _, _ in patients for image in images.values())
        monkeypatch.setattr(heart, "FILE_SCALE", 0.1)
        assert all(image.min() == 1 for image in draw_heart(1, SIZE)[0].values())

    def test_slices_are_three_to_six_and_ten_millimetres_apart(self, patients):
        assert {label.shape[2] for _, label, _ in patients} == {3, 4, 5, 6}
        assert all(spacing[2] == 10 for _, _, spacing in patients)

    def test_sizes_and_spacings_vary_around_the_nominal_ones(self):
        drawn = [draw_heart(number, (40, 60)) for number in range(1, 9)]
        for (_, label, spacing), nominal in ((case, 0.75 * 256 / 40) for case in drawn):
            assert 34 <= label.shape[0] <= 46 and 51 <= label.shape[1] <= 69
            assert spacing[0] == spacing[1] and 0.95 <= spacing[0] / nominal <= 1.05
        assert len({label.shape[:2] for _, label, _ in drawn}) > 4 and len({spacing for *_, spacing in drawn}) == 8

    def test_the_heart_lies_inside_and_shrinks_towards_the_apex(self, patients):
        for _, label, _ in patients:
            left = np.isin(label, (LV_BLOOD, MYOCARDIUM, EDEMA, SCAR)).sum((0, 1))
            assert (np.diff(left) > 0).all() and 0.02 < left.sum() / label.size < 0.2

    def test_the_wall_closes_around_the_left_cavity(self, patients):
        for _, label, _ in patients:
            cavity = label == LV_BLOOD
            for axis in (0, 1):
                for step in (-1, 1):
                    neighbours = np.roll(label, step, axis)[cavity]
                    assert np.isin(neighbours, (LV_BLOOD, MYOCARDIUM, EDEMA, SCAR)).all()

    def test_the_right_ventricle_lies_left_of_the_wall(self, patients):
        for _, label, _ in patients:
            assert np.argwhere(label == RV_BLOOD)[:, 0].mean() < np.argwhere(label == LV_BLOOD)[:, 0].mean()

    def test_papillary_muscles_look_like_myocardium_and_count_as_blood(self, monkeypatch):
        monkeypatch.setattr(heart, "NOISE", dict.fromkeys(heart.NOISE, 0.0))
        images, label, _ = draw_heart(1, (96, 96))
        dark = (images["bssfp"] < 700) & (label == LV_BLOOD)
        share = dark.sum() / (label == LV_BLOOD).sum()
        monkeypatch.setattr(heart, "_draw_papillary_muscles", lambda *_: None)
        images, same, _ = draw_heart(1, (96, 96))
        without = ((images["bssfp"] < 700) & (label == LV_BLOOD)).sum() / (label == LV_BLOOD).sum()
        assert np.array_equal(label, same) and share > without + 0.01


class TestContrasts:
    def test_scar_is_by_far_the_brightest_of_the_heart_on_lge(self, patients):
        assert mean_of(patients, "lge", SCAR) > 1.2 * mean_of(patients, "lge", LV_BLOOD, RV_BLOOD)
        assert mean_of(patients, "lge", SCAR) > 2 * mean_of(patients, "lge", MYOCARDIUM, EDEMA)

    def test_edema_is_brightest_on_t2(self, patients):
        edema = mean_of(patients, "t2", EDEMA)
        for code, ratio in {MYOCARDIUM: 1.3, SCAR: 1.05, LV_BLOOD: 2, RV_BLOOD: 1.8}.items():
            assert edema > ratio * mean_of(patients, "t2", code)

    def test_blood_is_bright_on_bssfp_and_dark_on_t2(self, patients):
        wall = (MYOCARDIUM, EDEMA, SCAR)
        for blood in (LV_BLOOD, RV_BLOOD):
            assert mean_of(patients, "bssfp", blood) > 1.5 * mean_of(patients, "bssfp", *wall)
            assert mean_of(patients, "t2", blood) < 0.7 * mean_of(patients, "t2", *wall)

    def test_bssfp_hardly_tells_scar_and_edema_from_myocardium(self, patients):
        for code in (EDEMA, SCAR):
            assert mean_of(patients, "bssfp", code) / mean_of(patients, "bssfp", MYOCARDIUM) < 1.25

    def test_nothing_is_blurred_across_slices(self, monkeypatch):
        for name in ("TISSUE_SPREAD", "TEXTURE", "BIAS"):
            monkeypatch.setattr(heart, name, 0.0)
        monkeypatch.setattr(heart, "NOISE", dict.fromkeys(heart.NOISE, 0.0))
        tissue = np.full((8, 8, 3), heart.LUNG, dtype=np.int8)
        tissue[:, :, 1] = heart.SCAR
        image = heart._draw_sequence(np.random.default_rng(0), "lge", tissue)
        assert [np.unique(image[:, :, z]).tolist() for z in range(3)] == [[80], [920], [80]]


class TestDeterminism:
    def test_a_case_is_a_function_of_its_number_and_the_seed(self, patients):
        images, label, spacing = draw_heart(7, SIZE)
        assert np.array_equal(label, patients[6][1]) and spacing == patients[6][2]
        assert all(np.array_equal(images[name], patients[6][0][name]) for name in images)
        assert not np.array_equal(draw_heart(7, SIZE, seed=1)[1], label)
        assert not np.array_equal(patients[5][1], label)

    def test_another_sequence_changes_nothing_else(self, patients, monkeypatch):
        monkeypatch.setattr(heart, "INTENSITY", {"t1": heart.INTENSITY["t2"], **heart.INTENSITY})
        monkeypatch.setattr(heart, "NOISE", {"t1": 0.1, **heart.NOISE})
        images, label, _ = draw_heart(1, SIZE)
        assert "t1" in images and np.array_equal(label, patients[0][1])
        assert all(np.array_equal(images[name], patients[0][0][name]) for name in MYOPS2020.modalities)

    def test_the_same_patient_at_another_resolution(self, monkeypatch):
        monkeypatch.setattr(heart, "SIZE_RANGE", (1.0, 1.0))
        (_, coarse, wide), (_, fine, narrow) = draw_heart(3, (32, 32)), draw_heart(3, (96, 96))
        assert (coarse == fine[1::3, 1::3]).mean() > 0.99
        assert wide == pytest.approx((3 * narrow[0], 3 * narrow[1], 10))


@pytest.mark.parametrize("size", [(15, 48), (48, 513), (48,), (48, 48, 48)])
def test_sizes_out_of_range_are_refused_in_words(size):
    with pytest.raises(ValueError, match="cannot be drawn: expected two numbers of voxels, from 16x16 to 512x512"):
        draw_heart(1, size)


@pytest.mark.parametrize(("number", "seed"), [(0, 0), (1, -1)])
def test_case_numbers_start_at_one_and_seeds_at_zero(number, seed):
    with pytest.raises(ValueError, match="case numbers start at 1 and seeds at 0"):
        draw_heart(number, SIZE, seed)


class TestFiles:
    def test_layout_names_and_geometry_are_those_of_myops2020(self, tmp_path):
        write_heart_phantoms(tmp_path / "d", cases=1, size=(16, 20))
        files = sorted(path.relative_to(tmp_path / "d").as_posix() for path in (tmp_path / "d").glob("*/*"))
        stem = "myops_training_101"
        images = [f"train25/{stem}_{suffix}.nii.gz" for suffix in ("C0", "DE", "T2")]
        assert files == [*images, f"train25_myops_gd/{stem}_gd.nii.gz"]
        _, label, (x, y, z) = draw_heart(1, (16, 20))
        for path in files:
            image = nib.load(tmp_path / "d" / path)
            assert image.get_data_dtype() == np.int16 and image.shape == label.shape
            expected = [[-x, 0, 0, 0], [0, -y, 0, y * (label.shape[1] - 1)], [0, 0, z, 0], [0, 0, 0, 1]]
            assert np.allclose(image.affine, expected) and nib.aff2axcodes(image.affine) == ("L", "P", "S")
            assert image.header.get_xyzt_units()[0] == "mm" and np.allclose(image.header.get_zooms(), (x, y, z))

    def test_files_hold_what_was_drawn(self, tmp_path):
        path = write_heart_phantoms(tmp_path / "d", cases=2, size=(16, 16), seed=5, split={"training": 1.0})
        images, label, _ = draw_heart(2, (16, 16), 5)
        parts = Datalist(path).parts(MYOPS2020.modalities)
        files = next(case for case in parts["training"] if case["case"] == "myops_training_102")
        assert files["bssfp"].endswith("_C0.nii.gz") and files["lge"].endswith("_DE.nii.gz")
        for key, array in {**images, "label": label}.items():
            assert np.array_equal(np.asanyarray(nib.load(files[key]).dataobj), array)

    def test_a_case_is_the_same_file_whatever_their_number(self, tmp_path):
        for count in (2, 3):
            write_heart_phantoms(tmp_path / str(count), cases=count, size=(16, 16))
        one, other = (tmp_path / count / "train25" / "myops_training_102_T2.nii.gz" for count in "23")
        assert one.read_bytes() == other.read_bytes()

    def test_datalist_is_split_and_complete(self, tmp_path):
        seen = []
        path = write_heart_phantoms(tmp_path, cases=10, size=(16, 16), progress=seen.append)
        assert path == tmp_path / "datalist.json"
        parts = Datalist(path).parts(MYOPS2020.modalities)
        assert {part: len(cases) for part, cases in parts.items()} == {"training": 7, "validation": 1, "test": 2}
        cases = [case for part in parts.values() for case in part]
        check_files_exist(cases)
        assert sorted(case["case"] for case in cases) == seen
        assert presence_table(cases, MYOPS2020.modalities).all() and all("label" in case for case in cases)

    def test_a_folder_with_something_in_it_is_left_alone(self, tmp_path):
        (tmp_path / "mine.txt").write_text("x")
        with pytest.raises(ValueError, match="not an empty folder; name a new folder"):
            write_heart_phantoms(tmp_path, cases=1, size=SIZE)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_no_cases_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="must be 1 or more, got 0"):
            write_heart_phantoms(tmp_path, cases=0, size=SIZE)
