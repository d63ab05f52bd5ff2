import shutil
from collections import Counter

import itk
import nibabel as nib
import numpy as np
import pytest

from passion_components.data.errors import CaseError
from passion_components.data.layouts.lgg import CHANNELS, read_patient
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.prepare_lgg import prepare_lgg
from passion_components.data.lists.splits import split_by_stratum
from passion_components.data.phantoms.lgg import case_name, draw_lgg, write_lgg_phantoms

SIZE = (20, 18, 16)
SPLIT = {"training": 0.5, "validation": 0.25, "test": 0.25}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Eight patients; the fourth lacks T1ce, the eighth T1 too."""
    folder = tmp_path_factory.mktemp("lgg") / "kaggle_3m"
    write_lgg_phantoms(folder, cases=8, size=SIZE)
    return folder


@pytest.fixture
def own(published, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(published, tmp_path / "kaggle_3m")


def prepare(source, out, **overrides):
    return prepare_lgg(source, out, **({"split": SPLIT, "seed": 0, "forced": {}} | overrides))


def save(path, array, is_vector=False):
    itk.imwrite(itk.image_from_array(np.ascontiguousarray(array), is_vector=is_vector), str(path))


class TestVolumes:
    def test_every_pixel_is_where_it_was(self, published, tmp_path):
        prepare(published, tmp_path / "out")
        name = case_name(3)
        slices, masks = draw_lgg(3, SIZE)
        for index, modality in enumerate(("t1", "flair", "t1ce")):
            image = nib.load(tmp_path / "out" / name / f"{name}_{modality}.nii.gz")
            assert image.get_data_dtype() == np.uint8
            np.testing.assert_array_equal(np.asarray(image.dataobj), slices[..., index].transpose(2, 1, 0))
        label = nib.load(tmp_path / "out" / name / f"{name}_seg.nii.gz")
        np.testing.assert_array_equal(np.asarray(label.dataobj), masks.transpose(2, 1, 0) // 255)

    def test_columns_run_left_rows_posterior_slices_up_at_a_nominal_spacing(self, published, tmp_path):
        prepare(published, tmp_path / "out")
        for file in (tmp_path / "out" / case_name(1)).iterdir():
            image = nib.load(file)
            np.testing.assert_allclose(image.affine, np.diag([-230.4 / 20, -230.4 / 20, 5, 1]), rtol=1e-6)
            assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
            assert b"nominal" in bytes(image.header["descrip"])

    def test_slices_are_ordered_by_number_not_by_name(self, own):
        name = case_name(1)
        for number in range(9, 13):
            save(own / name / f"{name}_{number}.tif", np.full((18, 20, 3), number, np.uint8), is_vector=True)
            save(own / name / f"{name}_{number}_mask.tif", np.zeros((18, 20), np.uint8))
        assert read_patient(own / name).sequences["t1"][0, 0, 8:].tolist() == [9, 10, 11, 12]


class TestAbsentSequences:
    def test_copies_are_left_out_and_named(self, published, tmp_path):
        datalist, _, summary, problems = prepare(published, tmp_path / "out")
        assert summary["absent"] == {"t1": [case_name(8)], "flair": [], "t1ce": [case_name(4), case_name(8)]}
        assert summary["by_patient"][case_name(8)]["absent"]["t1"] == "a copy of flair"
        assert not problems
        cases = {case["case"]: case for part in Datalist(datalist).parts(CHANNELS).values() for case in part}
        assert set(cases[case_name(8)]) == {"case", "flair", "label"}
        assert set(cases[case_name(4)]) == {"case", "t1", "flair", "label"}
        assert not (tmp_path / "out" / case_name(4) / f"{case_name(4)}_t1ce.nii.gz").exists()

    def test_one_differing_pixel_is_a_sequence(self, own):
        name = case_name(4)
        image = itk.array_from_image(itk.imread(str(own / name / f"{name}_1.tif"))).copy()
        image[0, 0, 2] ^= 1
        save(own / name / f"{name}_1.tif", image, is_vector=True)
        assert set(read_patient(own / name).sequences) == {"t1", "flair", "t1ce"}

    def test_a_constant_channel_and_a_copy_of_t1_are_none(self, own):
        for number, (channel, source) in {1: (1, None), 2: (2, 0)}.items():
            for file in (own / case_name(number)).glob("*[0-9].tif"):
                image = itk.array_from_image(itk.imread(str(file))).copy()
                image[..., channel] = 7 if source is None else image[..., source]
                save(file, image, is_vector=True)
        assert set(read_patient(own / case_name(1)).sequences) == {"t1", "t1ce"}
        assert read_patient(own / case_name(2)).copies == {"t1ce": "a copy of t1"}


class TestBadInput:
    def damage_gap(self, folder):
        (folder / f"{folder.name}_3.tif").unlink()
        (folder / f"{folder.name}_3_mask.tif").unlink()

    def damage_no_mask(self, folder):
        (folder / f"{folder.name}_2_mask.tif").unlink()

    def damage_no_image(self, folder):
        (folder / f"{folder.name}_8.tif").unlink()

    def damage_from_zero(self, folder):
        for end in (".tif", "_mask.tif"):
            shutil.copy(folder / f"{folder.name}_1{end}", folder / f"{folder.name}_0{end}")

    def damage_mask_size(self, folder):
        save(folder / f"{folder.name}_2_mask.tif", np.zeros((9, 10), np.uint8))

    def damage_depth(self, folder):
        save(folder / f"{folder.name}_2.tif", np.zeros((18, 20, 3), np.uint16), is_vector=True)

    def damage_constant(self, folder):
        for number in range(1, 9):
            save(folder / f"{folder.name}_{number}.tif", np.full((18, 20, 3), (5, 6, 7), np.uint8), is_vector=True)

    def damage_mask_values(self, folder):
        save(folder / f"{folder.name}_2_mask.tif", np.full((18, 20), 128, np.uint8))

    def damage_size(self, folder):
        save(folder / f"{folder.name}_2.tif", np.zeros((18, 22, 3), np.uint8), is_vector=True)

    def damage_grey(self, folder):
        save(folder / f"{folder.name}_2.tif", np.zeros((18, 20), np.uint8))

    def damage_bytes(self, folder):
        (folder / f"{folder.name}_2.tif").write_bytes(b"II*\0 no image")

    def damage_stranger(self, folder):
        (folder / "TCGA_ZZ_0001_20000101_1.tif").write_bytes(b"")

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("gap", "no slice 3; expected one for every number from 1 to 8"),
            ("no_mask", "no mask of slice 2; expected one for every number"),
            ("no_image", "no slice 8; expected one for every number from 1 to 8"),
            ("from_zero", "numbered 1, 2 and so on"),
            ("mask_size", "slice 2 has 18 x 20 pixels, its mask 9 x 10"),
            ("depth", "_2.tif has another pixel type; expected an RGB image of 8 bits"),
            ("constant", "every channel is constant"),
            ("mask_values", "_2_mask.tif holds 128; accepted: 0 and 255"),
            ("size", "slice 2 has 18 x 22 pixels, its mask 18 x 20, slice 1 18 x 20"),
            ("grey", "_2.tif is 18 x 20 of uint8; expected an RGB image of 8 bits"),
            ("bytes", "_2.tif cannot be read"),
            ("stranger", "TCGA_ZZ_0001_20000101_1.tif is no slice of this patient"),
        ],
    )
    def test_a_damaged_patient_is_left_out_in_one_line_and_the_others_are_done(self, own, tmp_path, kind, message):
        getattr(self, f"damage_{kind}")(own / case_name(2))
        _, parts, summary, problems = prepare(own, tmp_path / "out")
        (problem,) = problems
        assert problem.startswith(f"{case_name(2)}: ") and message in problem and "\n" not in problem
        assert summary["patients"] == sum(map(len, parts.values())) == 7
        assert not (tmp_path / "out" / case_name(2)).exists()

    def test_other_folders_are_told(self, own, tmp_path):
        (own / "notes").mkdir()
        assert "notes: not the name of a patient" in prepare(own, tmp_path / "out")[3][0]

    def test_the_folder_above_gets_a_hint(self, own, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no folder of a patient; .* did you mean .*kaggle_3m\?"):
            prepare(own.parent, tmp_path / "out")

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such folder"):
            prepare(tmp_path / "nowhere", tmp_path / "out")

    def test_nothing_usable_is_an_error_and_leaves_no_datalist(self, own, tmp_path):
        for folder in own.iterdir():
            self.damage_gap(folder)
        with pytest.raises(FileNotFoundError, match="no patient can be used; first of 8 problems"):
            prepare(own, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_prepared_folder_is_not_written_over(self, published, tmp_path):
        prepare(published, tmp_path / "out")
        with pytest.raises(ValueError, match="exists already"):
            prepare(published, tmp_path / "out")

    def test_a_run_that_was_cut_leaves_no_datalist_and_can_be_repeated(self, published, tmp_path):
        def cut(done, total):
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(published, tmp_path / "out", progress=cut)
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(map(case_name, (1, 3, 6)))
        assert prepare(published, tmp_path / "out")[2]["patients"] == 8

    def test_no_slices_at_all(self, tmp_path):
        (tmp_path / case_name(1)).mkdir()
        with pytest.raises(CaseError, match="no slices"):
            read_patient(tmp_path / case_name(1))


class TestSplit:
    def test_every_part_draws_from_every_institution_in_proportion(self):
        cases = [{"case": f"TCGA_{code}_{i:02d}"} for code, n in (("A", 40), ("B", 20), ("C", 10)) for i in range(n)]
        for seed in range(20):
            parts = split_by_stratum(cases, SPLIT, seed, stratum=lambda case: case["case"].split("_")[1])
            assert {part: len(of_part) for part, of_part in parts.items()} == {
                "training": 35,
                "validation": 18,
                "test": 17,
            }
            assert sorted(case["case"] for part in parts.values() for case in part) == sorted(c["case"] for c in cases)
            for code, n in (("A", 40), ("B", 20), ("C", 10)):
                counts = {p: sum(c["case"].split("_")[1] == code for c in of_part) for p, of_part in parts.items()}
                assert all(abs(counts[part] - SPLIT[part] * n) <= 1.01 for part in SPLIT)

    def test_depends_on_the_seed_and_not_on_the_order(self):
        cases = [{"case": f"TCGA_{code}_{i}"} for code in "AB" for i in range(8)]

        def split(cases, seed):
            return split_by_stratum(cases, SPLIT, seed, stratum=lambda case: case["case"].split("_")[1])

        assert split(cases, 1) == split(cases[::-1], 1)
        assert split(cases, 1) != split(cases, 2)

    def test_a_forced_patient_is_in_its_part_whatever_the_seed(self, published, tmp_path):
        for seed in range(4):
            forced = {case_name(1): "test", case_name(2): "validation"}
            parts = prepare(published, tmp_path / str(seed), seed=seed, forced=forced)[1]
            assert case_name(1) in {case["case"] for case in parts["test"]}
            assert case_name(2) in {case["case"] for case in parts["validation"]}
            assert Counter(case["case"] for part in parts.values() for case in part).most_common(1)[0][1] == 1

    def test_everything_for_testing(self, published, tmp_path):
        parts = prepare(published, tmp_path / "out", split={"training": 0, "validation": 0, "test": 1})[1]
        assert [len(parts[part]) for part in ("training", "validation", "test")] == [0, 0, 8]

    def test_a_forced_name_that_is_no_patient_is_refused_with_the_nearest_before_anything_is_written(
        self, published, tmp_path
    ):
        with pytest.raises(ValueError, match=rf"no such case; did you mean .*{case_name(1)}"):
            prepare(published, tmp_path / "out", forced={case_name(1)[:-1] + "2": "test"})
        assert not (tmp_path / "out").exists()

    def test_a_forced_patient_that_cannot_be_used_is_left_out_as_any_other(self, own, tmp_path):
        (own / case_name(2) / f"{case_name(2)}_2.tif").unlink()
        _, parts, _, problems = prepare(own, tmp_path / "out", forced={case_name(2): "test", case_name(1): "test"})
        assert len(problems) == 1 and problems[0].startswith(case_name(2))
        assert case_name(1) in {case["case"] for case in parts["test"]}

    def test_the_same_files_come_out_every_time_and_the_source_stays_as_it_was(self, own, tmp_path):
        def content(folder):
            return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

        before = content(own)
        for name in ("one", "two"):
            prepare(own, tmp_path / name)
        assert content(tmp_path / "one") == content(tmp_path / "two")
        assert content(own) == before


class TestPhantom:
    def test_a_patient_is_the_same_whatever_their_number(self, published, tmp_path):
        write_lgg_phantoms(tmp_path / "two", cases=2, size=SIZE)
        for file in (tmp_path / "two" / case_name(2)).iterdir():
            assert file.read_bytes() == (published / case_name(2) / file.name).read_bytes()

    def test_background_is_noise_above_zero_and_lesions_are_bright_in_flair(self):
        slices, masks = draw_lgg(1, (32, 32, 16))
        assert 0 < slices[:, 0, 0].mean() < 12
        assert slices[masks > 0][:, 1].mean() > 1.3 * slices[(masks == 0) & (slices[..., 1] > 30)][:, 1].mean()

    def test_a_used_folder_is_refused(self, published):
        with pytest.raises(ValueError, match="not an empty folder"):
            write_lgg_phantoms(published, cases=1, size=SIZE)
