import json

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, State
from monai.data import MetaTensor

from passion_components.data.errors import CaseError, UserError
from passion_components.datasets import BRATS2020
from passion_components.engines.weights import WeightsInfo
from passion_components.handlers.predictions import PredictionWriter, SubsetPredictionWriter
from passion_components.handlers.scores import SubsetScoresHandler
from passion_components.metrics.record import EvaluationRecord

WEIGHTS = WeightsInfo(path="w.pt", sha256="0123456789abcdef", trained_on="phantoms")


@pytest.fixture
def scan(tmp_path):
    """A scan of 4x4x4 voxels of 2x1x1 mm in file and memory."""
    path = tmp_path / "p_flair.nii.gz"
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), affine), path)
    meta = {"filename_or_obj": str(path), "original_affine": torch.from_numpy(affine)}
    return MetaTensor(torch.ones(4, 4, 4, 4), meta=meta)


def finish(handler, *outputs, modalities=BRATS2020.modalities) -> Engine:
    """Run an evaluation of channels of these modalities whose every iteration gives one (item, output) pair."""
    engine = Engine(lambda engine, batch: None)
    engine.state.weights, engine.state.modalities = WEIGHTS, modalities

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

    def test_of_every_subset_are_in_the_record_of_the_case(self, case, tmp_path):
        record = EvaluationRecord(output_dir=tmp_path, spec=BRATS2020, settings={"policy": "brats"})
        record.open([{"case": "p"}], {"sha256": WEIGHTS.sha256})
        engine = finish(SubsetScoresHandler(spec=BRATS2020, record=record), case)
        content = json.loads((tmp_path / "cases" / "p.json").read_text())
        assert content["scores"].keys() == {"flair", "flair+t1"}
        assert content["scores"]["flair"]["values"]["WT"] == {"dice": pytest.approx(2 * 4 / 12), "hd95": 2.0}
        assert content["scores"]["flair"]["empty"] == {"TC": "both", "ET": "both"}
        assert content["scores"]["flair+t1"]["values"]["WT"] == {"dice": 1, "hd95": 0}
        assert engine.state.metrics["mean_dice"] == pytest.approx((2 / 3 + 5) / 6)

    def test_policy_metrics_and_least_sizes_are_those_asked_for(self, case):
        handler = SubsetScoresHandler(spec=BRATS2020, metrics=["hd"], policy="nan", min_region_voxels={"WT": 5})
        scores = handler.score(*case, BRATS2020.modalities)
        assert scores["flair"].empty == {"WT": "one", "TC": "both", "ET": "both"}
        assert scores["flair+t1"].values["WT"] == {"hd": 0}
        assert finish(handler, case).state.metrics == {"mean_hd": 0}

    def test_probabilities_are_refused_with_what_makes_label_maps_of_them(self, case):
        item, _ = case
        with pytest.raises(
            ValueError, match=r"p: expected label maps \(subsets, 4, 4, 4\), got \(2, 3, 4, 4, 4\); give"
        ):
            SubsetScoresHandler(spec=BRATS2020).score(item, {"pred": torch.rand(2, 3, 4, 4, 4)}, BRATS2020.modalities)

    def test_without_any_case_there_is_no_mean(self):
        engine = Engine(lambda engine, batch: setattr(engine.state, "batch", []) or [])
        SubsetScoresHandler(spec=BRATS2020, metrics=["dice"]).attach(engine)
        engine.run([0])
        assert engine.state.metrics == {"mean_dice": None}

    def test_sizes_that_differ_name_the_case(self, case):
        item, output = case
        with pytest.raises(CaseError, match=r"p: label \(4, 4, 4\) and scan \(4, 4, 3\) differ in size"):
            SubsetScoresHandler(spec=BRATS2020).score(item, {"pred": output["pred"][..., :3]}, BRATS2020.modalities)

    @pytest.mark.parametrize("modalities", [("t2", "t1", "flair", "t1ce"), ("t2", "flair")])
    def test_subsets_are_those_of_the_channels_whatever_order_the_data_set_has(self, case, modalities):
        item, output = case
        item["subsets"] = torch.tensor([[name == "t2" for name in modalities], [name != "t1" for name in modalities]])
        handler = SubsetScoresHandler(spec=BRATS2020)
        finish(handler, (item, output), modalities=modalities)
        both = "+".join(name for name in BRATS2020.modalities if name in modalities and name != "t1")
        assert {row.subset for row in handler.book.rows()} == {"t2", both}
        assert handler.score(item, output, modalities)["t2"].values["WT"]["dice"] == pytest.approx(2 * 4 / 12)


class TestPredictions:
    @pytest.fixture
    def case(self, scan):
        classes = torch.zeros(4, 4, 4, dtype=torch.uint8)
        classes[0, 0, 0], classes[0, 0, 1], classes[0, 1] = 1, 3, 2
        return {
            "case": "p",
            "files": "f, t",
            "image": scan,
            "presence": torch.tensor([True, False, True, False]),
        }, {"pred": classes[None]}

    def test_codes_go_into_the_cases_own_folder_with_a_line_of_what_was_found(self, case, tmp_path, caplog):
        with caplog.at_level("INFO"):
            finish(PredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out"), case)
        array = np.asarray(nib.load(tmp_path / "out" / "p" / "p_seg.nii.gz").dataobj)
        assert array.dtype == np.uint8
        assert array[0, 0].tolist() == [1, 4, 0, 0] and (array[0, 1] == 2).all() and array[1:].sum() == 0
        (line,) = [record.getMessage() for record in caplog.records if record.name.endswith("predictions")]
        assert line.startswith(
            "p: from flair+t1 (f, t): WT 0.0 ml, TC 0.0 ml, ET 0.0 ml; weights 0123456789ab, trained on"
        )

    def test_an_evaluator_that_nobody_gave_weights_writes_nothing(self, case, tmp_path):
        state = State(modalities=BRATS2020.modalities)
        with pytest.raises(UserError, match="no weights were loaded: run the workflow"):
            PredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out").write(*case, state)
        assert not (tmp_path / "out").exists()

    def test_probabilities_lie_beside_it(self, case, tmp_path):
        item, output = case
        probabilities = torch.rand(1, 4, 4, 4, 4)
        output = output | {"pred_probabilities": probabilities}
        finish(PredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out"), (item, output))
        image = nib.load(tmp_path / "out" / "p" / "p_probabilities.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), probabilities[0].movedim(0, -1).numpy())

    def test_of_an_evaluation_have_a_file_per_subset(self, case, tmp_path):
        item, output = case
        item["subsets"] = torch.tensor([[True, False, False, False], [True, False, True, False]])
        output = {"pred": torch.cat([output["pred"], torch.zeros_like(output["pred"])])}
        finish(SubsetPredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out"), (item, output))
        found = {path.name: nib.load(path) for path in (tmp_path / "out" / "p").iterdir()}
        assert found.keys() == {"p_flair_seg.nii.gz", "p_flair+t1_seg.nii.gz"}
        assert np.asarray(found["p_flair_seg.nii.gz"].dataobj)[0, 0].tolist() == [1, 4, 0, 0]
        assert not np.asarray(found["p_flair+t1_seg.nii.gz"].dataobj).any()
        assert np.diag(found["p_flair_seg.nii.gz"].affine).tolist() == [2, 1, 1, 1]

    def test_of_channels_in_another_order_are_named_by_what_they_were_made_from(self, case, tmp_path, caplog):
        item, output = case
        item["presence"] = torch.tensor([True, False])
        item["subsets"] = item["presence"][None]
        for writer in (PredictionWriter, SubsetPredictionWriter):
            with caplog.at_level("INFO"):
                finish(writer(spec=BRATS2020, output_dir=tmp_path / "out"), (item, output), modalities=("t2", "flair"))
        assert {path.name for path in (tmp_path / "out" / "p").iterdir()} == {"p_seg.nii.gz", "p_t2_seg.nii.gz"}
        assert "p: from t2 (f, t): " in caplog.text

    def test_scans_named_like_another_scheme_say_which_codes_are_written(self, case, scan, tmp_path, caplog):
        source = tmp_path / "BraTS-GLI-00001-000-t2f.nii.gz"
        nib.save(nib.load(scan.meta["filename_or_obj"]), source)
        scan.meta["filename_or_obj"] = str(source)
        for scheme in ("brats2023", None):
            finish(PredictionWriter(spec=BRATS2020, output_dir=tmp_path / "out", label_scheme=scheme), case)
            if scheme:
                assert "named like" not in caplog.text
        assert (
            "BraTS-GLI-00001-000-t2f.nii.gz is named like the data of brats2023, but predictions are coded as "
            "brats2020 (0, 1, 2, 4): add --label_scheme brats2023 for the other codes (0, 1, 2, 3)"
        ) in caplog.text
