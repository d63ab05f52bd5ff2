import gzip
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from passion_components.data.errors import CaseError
from passion_components.transforms.labels import LoadLabeld
from passion_components.transforms.load import LoadModalitiesd

MODALITIES = ("flair", "t1", "t2")


@pytest.fixture
def load() -> LoadModalitiesd:
    return LoadModalitiesd(MODALITIES)


def refusal(load, **files) -> str:
    """The message that a case is refused with; it must be one line that starts with the case."""
    with pytest.raises(CaseError) as caught:
        load({"case": "P1", **files})
    message = str(caught.value)
    assert message.startswith("P1: ") and "\n" not in message
    return message


class TestWhatIsLoaded:
    def test_each_sequence_stands_in_its_own_channel_and_absent_ones_are_zero(self, load, save, brain):
        item = load({"case": "P1", "t2": save("t2.nii.gz", 2 * brain), "flair": save("flair.nii", brain)})
        image = item["image"].as_tensor()
        assert image.dtype == torch.float32 and image.shape == (3, *brain.shape)
        assert np.array_equal(image[0], brain) and np.array_equal(image[2], 2 * brain)
        assert not image[1].any()
        assert item["presence"].dtype == torch.bool and item["presence"].tolist() == [True, False, True]

    def test_paths_are_replaced_and_the_rest_is_kept(self, load, save, brain):
        item = load({"case": "P1", "t1": save("t1.nii.gz", brain), "age": 60})
        assert set(item) == {"case", "age", "files", "image", "presence"}

    def test_the_input_item_is_left_alone(self, load, save, brain):
        item = {"case": "P1", "t1": save("t1.nii.gz", brain)}
        before = dict(item)
        load(item)
        assert item == before

    def test_geometry_and_the_first_present_file_are_in_the_meta(self, load, save, brain):
        affine = np.array([[0.0, -1.2, 0, 5], [0.9, 0, 0, -7], [0, 0, 2.0, 3], [0, 0, 0, 1]])
        t1, t2 = save("t1.nii.gz", brain, affine), save("t2.nii.gz", 2 * brain, affine)
        image = load({"case": "P1", "t2": t2, "t1": t1})["image"]
        assert np.allclose(image.affine, affine, atol=1e-6)
        assert image.meta["filename_or_obj"] == t1 and image.meta["case"] == "P1"

    def test_integers_and_floats_of_the_same_values_are_the_same(self, load, save, brain):
        as_int = load({"case": "P1", "t1": save("int.nii.gz", brain.astype(np.int16))})["image"]
        as_float = load({"case": "P1", "t1": save("float.nii.gz", brain)})["image"]
        assert torch.equal(as_int.as_tensor(), as_float.as_tensor())

    def test_the_scaling_in_the_header_is_applied(self, load, tmp_path, brain):
        image = nib.Nifti1Image(brain.astype(np.int16), np.eye(4))
        image.header.set_slope_inter(0.5, 0.0)
        nib.save(image, tmp_path / "t1.nii.gz")
        loaded = load({"case": "P1", "t1": str(tmp_path / "t1.nii.gz")})["image"]
        assert np.array_equal(loaded[1].as_tensor(), 0.5 * brain)

    def test_a_4d_file_with_one_volume_is_3d(self, load, save, brain):
        item = load({"case": "P1", "t1": save("t1.nii.gz", brain[..., None])})
        assert np.array_equal(item["image"][1].as_tensor(), brain)


class TestSequencesWithoutContrast:
    @pytest.mark.parametrize("kind", ["zero", "one value", "one value inside the brain"])
    def test_a_constant_sequence_counts_as_absent_with_a_warning_that_names_it(self, load, save, brain, caplog, kind):
        constant = {"zero": 0 * brain, "one value": 0 * brain + 7, "one value inside the brain": 7.0 * (brain != 0)}
        files = {"t1": save("t1.nii.gz", brain), "flair": save("flair.nii.gz", constant[kind].astype(np.float32))}
        with caplog.at_level(logging.WARNING):
            item = load({"case": "P1", **files})
        assert item["presence"].tolist() == [False, True, False] and not item["image"][0].any()
        assert [record.getMessage() for record in caplog.records] == [
            "P1: flair.nii.gz is constant; flair counts as absent"
        ]

    def test_a_sequence_with_contrast_raises_no_warning(self, load, save, brain, caplog):
        load({"case": "P1", "t1": save("t1.nii.gz", brain)})
        assert not caplog.records

    @pytest.mark.parametrize("codes", [(1, 2, 4), (200, 500, 2221)])
    def test_a_label_map_given_as_a_scan_is_told(self, load, save, brain, caplog, codes):
        labels = np.zeros_like(brain)
        labels[2, 2, 2:5] = codes
        item = load({"case": "P1", "t1": save("t1.nii.gz", brain), "flair": save("flair.nii.gz", labels)})
        assert item["presence"].tolist() == [True, True, False]
        values = ", ".join(map(str, (0, *codes)))
        assert [record.getMessage() for record in caplog.records] == [
            f"P1: flair.nii.gz holds the values {values} alone, as a label map or mask; give the scan as flair"
        ]

    def test_a_case_of_nothing_but_constant_sequences_is_refused(self, load, save, brain):
        message = refusal(load, t1=save("t1.nii.gz", 0 * brain), t2=save("t2.nii.gz", 0 * brain + 1))
        assert "every sequence is constant (t1.nii.gz, t2.nii.gz); expected at least one with contrast" in message


class TestRefusals:
    def test_no_sequence_at_all(self, load):
        assert "has no sequence; expected at least one of flair, t1, t2" in refusal(load)

    def test_a_listed_file_that_does_not_exist(self, load, tmp_path):
        assert f"{tmp_path / 't1.nii.gz'} does not exist" in refusal(load, t1=str(tmp_path / "t1.nii.gz"))

    def test_a_truncated_file(self, load, save):
        noise = np.random.default_rng(0).normal(size=(12, 11, 10)).astype(np.float32)
        path = Path(save("t1.nii.gz", noise))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert f"{path} cannot be read" in refusal(load, t1=str(path))

    def test_a_truncated_uncompressed_file(self, load, save, brain):
        path = Path(save("t1.nii", brain))
        path.write_bytes(path.read_bytes()[:1000])
        assert f"{path} cannot be read" in refusal(load, t1=str(path))

    @pytest.mark.parametrize(
        ("name", "content", "finding"),
        [
            ("t1.nii.gz", b"", "it is empty"),
            ("t1.nii.gz", b"\x1f\x8bgarbage", "cannot be read"),
            ("t1.nii", b"some text\nand more of it", "cannot be read"),
            ("t1.png", b"\x89PNG", "cannot be read"),
        ],
    )
    def test_files_that_are_no_scans(self, load, tmp_path, name, content, finding):
        (tmp_path / name).write_bytes(content)
        message = refusal(load, t1=str(tmp_path / name))
        assert finding in message and "expected a complete NIfTI file" in message

    def test_a_plain_file_under_a_compressed_name_is_told_apart(self, load, save, brain, tmp_path):
        path = Path(save("t1.nii", brain)).rename(tmp_path / "t1.nii.gz")
        assert "it is not compressed although its name ends in .gz" in refusal(load, t1=str(path))

    def test_a_compressed_file_under_a_plain_name_is_told_apart(self, load, save, brain, tmp_path):
        path = tmp_path / "t1.nii"
        path.write_bytes(gzip.compress(Path(save("t2.nii", brain)).read_bytes()))
        assert "it is compressed although its name does not end in .gz" in refusal(load, t1=str(path))

    def test_another_format(self, load, tmp_path, brain):
        nib.save(nib.AnalyzeImage(brain, np.eye(4)), tmp_path / "t1.img")
        message = refusal(load, t1=str(tmp_path / "t1.img"))
        assert "t1.img is a Spm2AnalyzeImage; expected NIfTI" in message

    def test_a_file_of_two_volumes(self, load, save, brain):
        message = refusal(load, t1=save("t1.nii.gz", np.stack([brain, brain], axis=-1)))
        assert "t1.nii.gz has 12 x 11 x 10 x 2 voxels; expected one 3D volume" in message

    def test_a_flat_image_beside_volumes(self, load, save, brain):
        message = refusal(load, t1=save("t1.nii.gz", brain[..., 5]), t2=save("t2.nii.gz", brain))
        assert "different grids" in message and "12 x 11 x 1" in message

    def test_complex_numbers(self, load, save, brain):
        message = refusal(load, t1=save("t1.nii.gz", brain.astype(np.complex64)))
        assert "values of type complex64; expected one real number per voxel" in message

    def test_an_affine_without_extent(self, load, tmp_path, brain):
        image = nib.Nifti1Image(brain, np.eye(4))
        image.header["srow_y"] = 0
        nib.save(nib.Nifti1Image(brain, None, image.header), tmp_path / "t1.nii.gz")
        assert "t1.nii.gz has an affine without extent" in refusal(load, t1=str(tmp_path / "t1.nii.gz"))

    @pytest.mark.parametrize("spacing", [0.001, 1000.0])
    def test_voxels_of_an_absurd_size(self, load, tmp_path, brain, spacing):
        nib.save(nib.Nifti1Image(brain, np.diag([spacing, 1, 1, 1])), tmp_path / "t1.nii.gz")
        message = refusal(load, t1=str(tmp_path / "t1.nii.gz"))
        assert "t1.nii.gz has voxels of" in message and "accepted: 0.01 to 50 mm" in message

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_voxels_that_are_no_finite_numbers_are_counted(self, load, save, brain, value):
        brain[5, 5, 5:7] = value
        assert "t1.nii.gz holds 2 NaN or infinite voxels" in refusal(load, t1=save("t1.nii.gz", brain))


class TestOneGridPerCase:
    def test_other_sizes_and_spacings_are_named_file_by_file(self, load, save, brain):
        message = refusal(
            load,
            flair=save("a_flair.nii.gz", brain, np.diag([0.94, 0.94, 2.5, 1])),
            t1=save("a_t1.nii.gz", brain[:10], np.diag([0.47, 0.47, 5, 1])),
        )
        assert "a_flair.nii.gz 12 x 11 x 10 at 0.94 x 0.94 x 2.50 mm" in message
        assert "a_t1.nii.gz 10 x 11 x 10 at 0.47 x 0.47 x 5.00 mm" in message
        assert "accepted: one grid per case" in message

    def test_a_shift_alone_is_refused_and_visible_in_the_message(self, load, save, brain):
        shifted = np.eye(4)
        shifted[0, 3] = 3
        message = refusal(load, t1=save("t1.nii.gz", brain, np.eye(4)), t2=save("t2.nii.gz", 2 * brain, shifted))
        assert "t1.nii.gz 12 x 11 x 10 with affine (1 0 0 0; 0 1 0 0; 0 0 1 0)" in message
        assert "t2.nii.gz 12 x 11 x 10 with affine (1 0 0 3; 0 1 0 0; 0 0 1 0)" in message

    @pytest.mark.parametrize(("shift", "refused"), [(0.04, False), (0.06, True)])
    def test_affines_may_differ_by_a_twentieth_of_a_millimetre(self, load, save, brain, shift, refused):
        moved = np.eye(4)
        moved[1, 3] = shift
        files = {"t1": save("t1.nii.gz", brain, np.eye(4)), "t2": save("t2.nii.gz", 2 * brain, moved)}
        if refused:
            refusal(load, **files)
        else:
            assert load({"case": "P1", **files})["presence"].tolist() == [False, True, True]

    @pytest.mark.parametrize("to", ["target", "reference"])
    def test_the_label_map_must_lie_on_it_too(self, load, save, brain, to):
        label = save("seg.nii.gz", (brain > 50).astype(np.uint8), np.diag([1.0, 1, 1.5, 1]))
        item = LoadLabeld(to=to, label_codes={0: 0, 1: 1})({"case": "P1", "label": label})
        message = refusal(load, t1=save("t1.nii.gz", brain, np.eye(4)), **{to: item[to]})
        assert "seg.nii.gz 12 x 11 x 10 at 1.00 x 1.00 x 1.50 mm" in message

    def test_a_label_map_on_the_same_grid_is_kept(self, load, save, brain):
        label = save("seg.nii.gz", (brain > 50).astype(np.uint8))
        item = LoadLabeld(to="target", label_codes={0: 0, 1: 1})({"case": "P1", "label": label})
        item = load({**item, "t1": save("t1.nii.gz", brain)})
        assert item["target"].shape == item["image"][:1].shape


class TestResampling:
    """A scan of 2 mm and one of 1 mm in the same place; intensities are the x coordinate in mm, and in t2 1 more."""

    FINE, COARSE = np.diag([1.0, 1, 1, 1]), np.diag([2.0, 1, 1, 1])

    @pytest.fixture
    def files(self, save):
        fine, coarse = np.zeros((13, 6, 6), np.float32), np.zeros((7, 6, 6), np.float32)
        fine[:], coarse[:] = np.arange(13.0)[:, None, None], 2 * np.arange(7.0)[:, None, None]
        fine += 1
        return {"flair": save("flair.nii.gz", coarse, self.COARSE), "t2": save("t2.nii.gz", fine, self.FINE)}

    @pytest.mark.parametrize(("to", "size"), [("flair", 7), ("t2", 13)])
    def test_all_sequences_come_to_the_grid_of_the_one_named(self, files, to, size):
        item = LoadModalitiesd(MODALITIES, resample_to=to)({"case": "P1", **files})
        image = item["image"]
        assert image.shape == (3, size, 6, 6) and item["presence"].tolist() == [True, False, True]
        assert torch.allclose(image[0, 1:-1] + 1, image[2, 1:-1], atol=1e-4)  # linear, so exact away from the border
        assert image.meta["filename_or_obj"] == files[to] and float(image.affine[0, 0]) == 12 / (size - 1)

    def test_nothing_changes_where_they_share_a_grid_already(self, save, brain):
        files = {"t1": save("t1.nii.gz", brain), "t2": save("t2.nii.gz", brain + 1)}
        item = LoadModalitiesd(MODALITIES, resample_to="flair")({"case": "P1", **files})
        assert torch.equal(item["image"].as_tensor()[1], torch.from_numpy(brain))

    def test_labels_follow_to_the_nearest_voxel(self, files, save):
        classes = np.zeros((7, 6, 6), np.uint8)
        classes[2:4], classes[4:] = 4, 1
        item = LoadLabeld(to="target", label_codes={0: 0, 1: 1, 4: 3})(
            {"case": "P1", "label": save("seg.nii.gz", classes, self.COARSE), **files}
        )
        target = LoadModalitiesd(MODALITIES, resample_to="t2")(item)["target"]
        assert target.dtype == torch.uint8 and target.shape == (1, 13, 6, 6)
        assert target[0, ::2, 0, 0].tolist() == [0, 0, 3, 3, 1, 1, 1] and set(target.unique().tolist()) == {0, 1, 3}

    def test_a_reference_that_the_case_lacks_is_refused_with_those_it_has(self, files):
        with pytest.raises(CaseError, match="different grids and t1, .* is absent; accepted: flair, t2"):
            LoadModalitiesd(MODALITIES, resample_to="t1")({"case": "P1", **files})

    def test_without_it_the_refusal_names_the_remedy(self, load, files):
        assert "add --resample-to and the name of the sequence whose grid counts" in refusal(load, **files)

    def test_it_must_be_a_modality(self):
        with pytest.raises(ValueError, match="resample_to must be one of flair, t1, t2, got 'pd'"):
            LoadModalitiesd(MODALITIES, resample_to="pd")


@pytest.mark.parametrize("modalities", [[], ["t1", "t1"]])
def test_modalities_must_be_unique_names(modalities):
    with pytest.raises(ValueError, match="modalities must be at least one name, each once"):
        LoadModalitiesd(modalities)


class TestCopies:
    """A file with the voxels of another one says nothing of its own, however it came to be."""

    @pytest.fixture
    def t1(self, save, brain):
        return save("P1_t1.nii.gz", brain)

    def copy(self, kind, t1, save, brain, folder):
        path = folder / "P1_flair.nii.gz"
        if kind == "one path twice":
            return t1
        if kind == "link":
            path.symlink_to(t1)
        elif kind == "recompressed":
            path.write_bytes(gzip.compress(gzip.decompress(Path(t1).read_bytes()), 1))
        elif kind == "other dtype":
            save(path.name, brain.astype(np.int16))
        elif kind == "negative zeros":
            save(path.name, np.where(brain == 0, np.float32(-0.0), brain))
        else:
            path.write_bytes(Path(t1).read_bytes())
        return str(path)

    @pytest.mark.parametrize(
        "kind", ["file", "link", "recompressed", "one path twice", "other dtype", "negative zeros"]
    )
    def test_a_copy_is_refused_by_both_files_unless_allowed(self, kind, load, t1, save, brain, tmp_path):
        files = {"flair": self.copy(kind, t1, save, brain, tmp_path), "t1": t1, "t2": save("t2.nii", brain * 2)}
        message = refusal(load, **files)
        assert f"flair ({files['flair']}) and t1 ({t1}) hold the same voxels" in message
        assert message.endswith("or add --allow_copies")
        item = LoadModalitiesd(MODALITIES, allow_copies=True)({"case": "P1", **files})
        assert item["presence"].tolist() == [True, True, True]

    def test_one_voxel_is_enough_to_be_another_sequence(self, load, t1, save, brain):
        brain[4, 3, 5] += 1
        item = load({"case": "P1", "t1": t1, "t2": save("t2.nii", brain)})
        assert item["presence"].tolist() == [False, True, True]

    def test_a_copy_on_another_grid_is_one(self, t1, save, brain):
        moved = np.diag([-1.0, -1.0, 1.5, 1.0])
        files = {"t1": t1, "t2": save("t2.nii", brain, moved)}
        assert "hold the same voxels" in refusal(LoadModalitiesd(MODALITIES, resample_to="t1"), **files)

    def test_a_scan_resampled_before_is_the_one_that_is_resampled_here(self, save):
        """An x coordinate at 2 mm, and what linear interpolation makes of it at 1 mm."""
        fine, coarse = np.zeros((13, 6, 6), np.float32), np.zeros((7, 6, 6), np.float32)
        fine[:], coarse[:] = np.arange(13.0)[:, None, None], 2 * np.arange(7.0)[:, None, None]
        files = {"t1": save("t1.nii", fine, np.eye(4)), "t2": save("t2.nii", coarse, np.diag([2.0, 1, 1, 1]))}
        assert "hold the same voxels" in refusal(LoadModalitiesd(MODALITIES, resample_to="t1"), **files)

    def test_sequences_without_contrast_are_absent_both(self, load, t1, save, brain):
        files = {name: save(f"{name}.nii", np.zeros_like(brain)) for name in ("flair", "t2")}
        assert load({"case": "P1", "t1": t1, **files})["presence"].tolist() == [False, True, False]
