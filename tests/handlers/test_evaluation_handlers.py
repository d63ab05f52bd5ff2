import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from passion_components.data.errors import CaseError
from passion_components.datasets import BRATS2020
from passion_components.engines.weights import WeightsInfo
from passion_components.handlers.predictions import PredictionWriter
from passion_components.handlers.scores import SubsetScoresHandler

WEIGHTS = WeightsInfo(path="w.pt", sha256="0123456789abcdef", trained_on="phantoms")


@pytest.fixture
def scan(tmp_path):
    """A scan of 4x4x4 voxels of 2x1x1 mm in file and memory."""
    path = tmp_path / "p_flair.nii.gz"
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), affine), path)
    meta = {"filename_or_obj": str(path), "original_affine": torch.from_numpy(affine)}
    return MetaTensor(torch.ones(4, 4, 4, 4), meta=meta)


def finish(handler, *outputs) -> Engine:
    """Run an evaluation whose every iteration gives one (item, output) pair."""
    engine = Engine(lambda engine, batch: None)
    engine.state.weights = WEIGHTS

    def step(engine, batch):
        item, output = batch
        engine.state.batch = [item]
        return [output]

    engine._process_function = step
    handler.attach(engine)
    engine.run(list(outputs), max_epochs=1)
    return engine


class TestScores:
    @pytest.fixture
    def case(self, scan):
        """Whole tumour of 8 voxels; FLAIR finds 4 of them, FLAIR and T1 together all."""
        reference = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
        reference[0, :2, :2, :2] = 2
        half = reference[0].clone()
        half[0] = 0
        subsets = torch.tensor([[True, False, False, False], [True, False, True, False]])
        item = {"case": "p", "image": scan, "reference": reference, "subsets": subsets}
        return item, {"pred": torch.stack([half, reference[0]])}

    def test_of_every_subset_are_written_with_what_scored_them(self, case, tmp_path):
        engine = finish(SubsetScoresHandler(spec=BRATS2020, output_dir=tmp_path / "out"), case)
        with open(tmp_path / "out" / "metrics.csv", newline="") as file:
            rows = {(r["subset"], r["region"], r["metric"]): float(r["value"]) for r in csv.DictReader(file)}
        assert len(rows) == 2 * 3 * 2
        assert rows["flair", "WT", "dice"] == pytest.approx(2 * 4 / 12)
        assert rows["flair", "WT", "hd95"] == pytest.approx(2.0)
        assert rows["flair+t1", "WT", "dice"] == 1 and rows["flair+t1", "WT", "hd95"] == 0
        assert rows["flair", "TC", "dice"] == 1
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["run"]["weights"]["sha256"] == WEIGHTS.sha256
        assert engine.state.metrics["mean_dice"] == pytest.approx((2 / 3 + 5) / 6)

    def test_without_a_folder_only_the_means_are_kept(self, case, tmp_path):
        engine = finish(SubsetScoresHandler(spec=BRATS2020, metrics=["dice"]), case)
        assert set(engine.state.metrics) == {"mean_dice"}

    def test_sizes_that_differ_name_the_case(self, case):
        item, output = case
        with pytest.raises(CaseError, match=r"p: label \(4, 4, 4\) and scan \(4, 4, 3\) differ in size"):
            SubsetScoresHandler(spec=BRATS2020).score(item, {"pred": output["pred"][..., :3]})


class TestPredictions:
    @pytest.fixture
    def case(self, scan):
        classes = torch.zeros(4, 4, 4, dtype=torch.uint8)
        classes[0, 0, 0], classes[0, 0, 1], classes[0, 1] = 1, 3, 2
        return {"case": "p", "image": scan, "presence": torch.tensor([True, False, True, False])}, {
            "pred": classes[None]
        }

    def test_codes_go_into_the_cases_own_folder_with_a_line_of_what_was_found(self, case, tmp_path, caplog):
        with caplog.at_level("INFO"):
            finish(PredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out"), case)
        array = np.asarray(nib.load(tmp_path / "out" / "p" / "p_seg.nii.gz").dataobj)
        assert array.dtype == np.uint8
        assert array[0, 0].tolist() == [1, 4, 0, 0] and (array[0, 1] == 2).all() and array[1:].sum() == 0
        (line,) = [record.getMessage() for record in caplog.records if record.name.endswith("predictions")]
        assert line.startswith("p: from flair+t1: WT 0.0 ml, TC 0.0 ml, ET 0.0 ml; weights 0123456789ab, trained on")

    def test_probabilities_lie_beside_it(self, case, tmp_path):
        item, output = case
        probabilities = torch.rand(1, 4, 4, 4, 4)
        output = output | {"pred_probabilities": probabilities}
        finish(PredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out"), (item, output))
        image = nib.load(tmp_path / "out" / "p" / "p_probabilities.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), probabilities[0].movedim(0, -1).numpy())
