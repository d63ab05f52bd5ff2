"""Inference on scans: which grid the label map lies on, and that it is what an evaluation sees."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.ndimage import affine_transform

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import BRATS2020, MYOPS2020, dataset_spec
from passion_components.inferers import modality_aware
from passion_components.metrics import METRICS
from passion_components.transforms.restore import RestoreLabelMapsd

MODALITIES = BRATS2020.modalities


@pytest.fixture
def complete(phantoms) -> dict:
    """First test case of the phantoms: its files by modality."""
    case = json.loads((phantoms / "datalist.json").read_text())["test"][0]
    return {key: phantoms / value for key, value in case.items() if key != "case"} | {"case": case["case"]}


@pytest.fixture
def segment(run, random_weights_of, tmp_path):
    """Segment scans, given as images by modality, as one case; returns the label map and a scan as it was stored."""

    def make(name: str, scans: dict, of: str = "brats2020_rfnet") -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
        folder = tmp_path / f"scans_{name}" / name
        folder.mkdir(parents=True)
        for modality, image in scans.items():
            nib.save(image, folder / f"{name}_{modality}.nii.gz")
        out = tmp_path / f"out_{name}"
        run("inference", "inference", of=of, dataset_dir=folder.parent, output_dir=out, ckpt=random_weights_of(of))
        return nib.load(out / name / f"{name}_seg.nii.gz"), nib.load(folder / f"{name}_{modality}.nii.gz")

    return make


def values(image) -> np.ndarray:
    return np.asarray(image.dataobj)


def turned(image: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    """The same voxels in space, stored along other axes."""
    transform = ornt_transform(nib.io_orientation(image.affine), axcodes2ornt(codes))
    return image.as_reoriented(transform)


def tilted(image: nib.Nifti1Image, spacing=(1.0, 1.0, 1.0)) -> nib.Nifti1Image:
    """The same array in a header with rotated axes and other voxels."""
    a, b = 0.2, -0.1
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    rotation = rotation @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    affine[:3, 3] = (31.0, -12.5, 7.25)
    result = nib.Nifti1Image(values(image), affine)
    result.set_sform(affine, code=2)
    result.set_qform(affine, code=1)
    return result


def assert_same_geometry(label_map, scan):
    assert label_map.shape == scan.shape
    np.testing.assert_array_equal(label_map.affine, scan.affine)
    for get in ("get_sform", "get_qform"):
        (one, code), (other, other_code) = (getattr(image, get)(coded=True) for image in (label_map, scan))
        assert code == other_code
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(label_map.header["pixdim"], scan.header["pixdim"])


class TestGeometry:
    def test_one_sequence_alone_in_the_geometry_of_its_file(self, segment, complete):
        label_map, scan = segment("alone", {"t1": nib.load(complete["t1"])})
        assert_same_geometry(label_map, scan)
        assert set(np.unique(values(label_map))) <= {0, 1, 2, 4}
        assert len(np.unique(values(label_map))) > 1

    @pytest.mark.parametrize("codes", ["RAS", "SLA", "PIR"])
    def test_another_orientation_gives_the_same_voxels_turned(self, segment, complete, codes):
        scans = {name: tilted(nib.load(complete[name])) for name in ("flair", "t1")}
        canonical, _ = segment("canonical", scans)
        label_map, stored = segment("turned", {name: turned(scan, codes) for name, scan in scans.items()})
        expected = turned(canonical, codes)
        assert_same_geometry(label_map, stored)
        np.testing.assert_array_equal(values(label_map), values(expected))
        assert len(np.unique(values(expected))) > 1

    @pytest.mark.parametrize(("spacing", "slices"), [((0.9, 0.9, 1.5), slice(None)), ((0.9, 0.9, 10.0), slice(7, 13))])
    def test_resampled_probabilities_are_brought_back_by_linear_interpolation(
        self, segment, complete, run, random_weights, tmp_path, spacing, slices
    ):
        """Oblique and turned; the way back is computed here by scipy."""
        oblique = turned(tilted(nib.load(complete["t1"]).slicer[:, :, slices], spacing), "SLA")
        label_map, scan = segment("resampled", {"t1": oblique})
        assert_same_geometry(label_map, scan)
        probabilities, affine = self.in_network_space(run, random_weights, tmp_path)
        to_network = np.linalg.inv(affine) @ scan.affine
        restored = [
            affine_transform(channel, to_network, output_shape=scan.shape, order=1, cval=float(index == 0))
            for index, channel in enumerate(probabilities)
        ]
        clear = np.diff(np.sort(restored, axis=0)[-2:], axis=0)[0] > 1e-4
        inner = np.pad(np.ones([size - 2 for size in scan.shape], dtype=bool), 1)
        clear &= inner  # not half a voxel beyond the network's grid, where values are continued
        assert clear.sum() > 0.4 * inner.sum()
        expected = np.array([0, 1, 2, 4])[np.argmax(restored, axis=0)]
        np.testing.assert_array_equal(values(label_map)[clear], expected[clear])
        assert len(np.unique(expected)) > 1

    def in_network_space(self, run, random_weights, tmp_path) -> tuple[np.ndarray, np.ndarray]:
        """The network's probabilities (K, *S), background outside the box of the brain, and their affine."""
        made = {}
        original = RestoreLabelMapsd.__call__

        def watched(transform, data):
            made.update(image=data["image"], probabilities=data["pred"][0].double().numpy().copy())
            return original(transform, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RestoreLabelMapsd, "__call__", watched)
            folder = tmp_path / "scans_resampled"
            run("inference", "inference", dataset_dir=folder, output_dir=tmp_path / "again", ckpt=random_weights)
        t1 = made["image"][MODALITIES.index("t1")].numpy()
        brain = np.argwhere(t1 != t1[0, 0, 0])
        box = (slice(None), *(slice(low, high + 1) for low, high in zip(brain.min(0), brain.max(0), strict=True)))
        probabilities = np.zeros_like(made["probabilities"])
        probabilities[0] = 1
        probabilities[box] = made["probabilities"][box]
        return probabilities, made["image"].affine.numpy()


class TestAsEvaluated:
    @pytest.mark.parametrize("of", ["brats2020_rfnet", "myops2020_m2ftrans"])
    def test_a_folder_that_holds_only_a_subset_gives_the_evaluated_dice(
        self, run, workflow, random_weights_of, tmp_path, of, monkeypatch
    ):
        # subset by subset, so that sums are rounded as in inference: together, a tie between two classes may flip
        monkeypatch.setattr(modality_aware, "VOXELS_PER_CALL", 1)
        spec, random_weights = dataset_spec(of.rsplit("_", 1)[0]), random_weights_of(of)
        listed = Path(workflow("training", "train", of=of).parser.get("dataset_dir")) / "datalist.json"
        complete = Datalist(listed).cases("test", spec.modalities)[0]
        files = {"of": of, "datalist": listed, "ckpt": random_weights}
        run("evaluating", "train", "evaluate", output_dir=tmp_path / "scores", **files)
        with open(tmp_path / "scores" / "metrics.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["case"] == complete["case"] and row["metric"] == "dice"]
        n_subsets = 2 ** len(spec.modalities) - 1
        assert len(rows) == n_subsets * 3
        subsets = sorted({row["subset"] for row in rows})
        for subset in subsets:
            (tmp_path / "scans" / subset).mkdir(parents=True)
            for name in subset.split("+"):
                shutil.copy(complete[name], tmp_path / "scans" / subset)
        out = tmp_path / "out"
        alike = {"windows": "published", "ckpt": random_weights}
        run("inference", "inference", of=of, dataset_dir=tmp_path / "scans", output_dir=out, **alike)
        truth = values(nib.load(complete["label"]))
        scores = {}
        for row in rows:
            prediction = values(nib.load(out / row["subset"] / f"{row['subset']}_seg.nii.gz"))
            indices = spec.regions[row["region"]]
            predicted, true = (
                np.isin(labels, [code for code, index in spec.label_codes.items() if index in indices])
                for labels in (prediction, truth)
            )
            scores[row["subset"], row["region"]] = METRICS["dice"](predicted, true)
            assert float(row["value"]) == pytest.approx(scores[row["subset"], row["region"]], abs=1e-9)
        assert len(set(scores.values())) > n_subsets

    def test_a_constant_sequence_counts_as_absent_with_a_warning(self, segment, complete, caplog):
        scans = {name: nib.load(complete[name]) for name in ("flair", "t1")}
        without, _ = segment("without", {"t1": scans["t1"]})
        constant = nib.Nifti1Image(np.full_like(values(scans["flair"]), 7), scans["flair"].affine)
        with caplog.at_level("WARNING"):
            same, _ = segment("constant", {"t1": scans["t1"], "flair": constant})
        assert "constant_flair.nii.gz is constant; flair counts as absent" in caplog.text
        np.testing.assert_array_equal(values(without), values(same))


def test_negative_voxels_inside_the_brain_are_kept(run, complete, random_weights, workflow, tmp_path):
    scan = nib.load(complete["t1"])
    array = values(scan).astype(np.int16)
    inside = array != 0
    array[inside] -= int(np.median(array[inside])) + 1
    (tmp_path / "negative" / "x").mkdir(parents=True)
    nib.save(nib.Nifti1Image(array, scan.affine), tmp_path / "negative" / "x" / "x_t1.nii.gz")
    made = workflow("inference", "inference", dataset_dir=tmp_path / "negative")
    made.initialize()
    image = made.parser.get_parsed_content("dataset")[0]["image"][MODALITIES.index("t1")]
    background = torch.mode(image.flatten()).values
    nonzero = array != 0
    assert int((image != background).sum()) == nonzero.sum()
    assert image[image != background].mean().abs() < 1e-3


class TestSlices:
    """A network of two dimensions on volumes."""

    @pytest.fixture
    def scans(self, slice_phantoms) -> dict:
        case = json.loads((slice_phantoms / "datalist.json").read_text())["test"][0]
        return {key: nib.load(slice_phantoms / case[key]) for key in ("t1", "flair") if key in case}

    def segment_slices(self, segment, name, scans):
        label_map, scan = segment(name, scans, of="tcga_lgg_rfnet")
        assert_same_geometry(label_map, scan)
        return values(label_map)

    @pytest.mark.parametrize("codes", ["RAS", "SLA"])
    def test_a_volume_stored_along_other_axes_is_cut_the_same(self, segment, scans, codes):
        canonical = self.segment_slices(segment, "canonical", scans)
        scans = {name: turned(image, codes) for name, image in scans.items()}
        found = self.segment_slices(segment, "turned", scans)
        image = nib.Nifti1Image(canonical, np.diag([-11.52, -11.52, 5, 1]))
        np.testing.assert_array_equal(found, values(turned(image, codes)))
        assert 0 < canonical.sum() < canonical.size

    def test_another_resolution_is_brought_back(self, segment, scans):
        finer = {name: nib.Nifti1Image(np.kron(values(s), np.ones((2, 2, 1))), s.affine) for name, s in scans.items()}
        for image in finer.values():
            image.set_sform(np.diag([-5.76, -5.76, 5, 1]), code=1)
            image.set_qform(None)
        found = self.segment_slices(segment, "finer", finer)
        assert found.shape == (40, 40, 8) and 0 < found.sum() < found.size

    def test_one_slice_that_is_smaller_than_the_window(self, segment, scans):
        one = {name: nib.Nifti1Image(values(s)[4:16, 3:13, 4:5], s.affine) for name, s in scans.items()}
        assert self.segment_slices(segment, "one", one).shape == (12, 10, 1)

    def test_a_blank_slice_is_of_one_class(self, segment, scans):
        blank = {}
        for name, scan in scans.items():
            array = values(scan).copy()
            array[..., 0] = 0
            blank[name] = nib.Nifti1Image(array, scan.affine)
        found = self.segment_slices(segment, "blank", blank)
        assert len(np.unique(found[..., 0])) == 1 and len(np.unique(found)) == 2


class TestHearts:
    """Slices that keep the axes of their file, cropped to the centre."""

    @pytest.fixture
    def scans(self, heart_phantoms) -> dict:
        case = Datalist(heart_phantoms / "datalist.json").cases("test", MYOPS2020.modalities)[0]
        return {key: nib.load(case[key]) for key in MYOPS2020.modalities}

    def test_oblique_slices_are_segmented_as_straight_ones(self, segment, scans):
        straight, _ = segment("straight", scans, of="myops2020_rfnet")
        spacing = scans["t2"].header.get_zooms()
        oblique, scan = segment("oblique", {n: tilted(s, spacing) for n, s in scans.items()}, of="myops2020_rfnet")
        assert_same_geometry(oblique, scan)
        np.testing.assert_array_equal(values(oblique), values(straight))
        assert set(np.unique(values(straight))) <= {0, 200, 500, 600} and len(np.unique(values(straight))) > 1

    def test_what_lies_outside_the_centre_is_background(self, segment, scans):
        wide = {
            name: nib.Nifti1Image(np.pad(values(s), ((30, 30), (0, 0), (0, 0)), mode="symmetric"), s.affine)
            for name, s in scans.items()
        }
        found = values(segment("wide", wide, of="myops2020_rfnet")[0])
        assert (found[:20] == 0).all() and (found[-20:] == 0).all() and (found != 0).any()
