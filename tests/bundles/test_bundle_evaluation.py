"""Evaluation of a bundle: going on where it stopped, its settings, the label maps that it may write."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from passion_components.data.lists.datalist import Datalist
from passion_components.data.reading import volumes
from passion_components.datasets import BRATS2020, TCGA_LGG
from passion_components.handlers.scores import SubsetScoresHandler
from passion_components.metrics import score_case
from passion_components.transforms import load


@pytest.fixture
def evaluate(run, phantoms, random_weights, tmp_path):
    """Evaluate random weights on the two test cases; gives the folder."""

    def make(folder, **overrides):
        settings = {"datalist": phantoms / "datalist.json", "ckpt": random_weights, "overlap": 0.0} | overrides
        run("evaluating", "train", "evaluate", output_dir=tmp_path / folder, **settings)
        return tmp_path / folder

    return make


@pytest.fixture
def read_files(monkeypatch):
    """Names of the files that are read from now on."""
    names = []

    def watched(path, **where):
        names.append(str(path))
        return read_volume(path, **where)

    read_volume = volumes.read_volume
    for module in (load, volumes):  # images, and label maps
        monkeypatch.setattr(module, "read_volume", watched)
    return names


def results(folder):
    return [(folder / name).read_bytes() for name in ("metrics.csv", "summary.json", "table.md")]


class TestInterrupted:
    def test_it_goes_on_with_the_cases_that_are_left(self, evaluate, phantoms, monkeypatch, read_files):
        first, second = Datalist(phantoms / "datalist.json").cases("test", BRATS2020.modalities)
        expected = results(evaluate("whole"))
        collect = SubsetScoresHandler.collect

        def stop_at_the_second(handler, engine):
            if engine.state.batch[0]["case"] == second["case"]:
                raise KeyboardInterrupt
            collect(handler, engine)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(SubsetScoresHandler, "collect", stop_at_the_second)
            evaluate("parts")
        read_files.clear()
        folder = evaluate("parts")
        assert set(read_files) == set(second.values()) - {second["case"]}
        assert results(folder) == expected
        assert {path.stem for path in (folder / "cases").iterdir()} == {first["case"], second["case"]}

    def test_one_that_is_done_reads_nothing_and_changed_settings_start_anew(self, evaluate, read_files, caplog):
        before = results(evaluate("out"))
        read_files.clear()
        assert results(evaluate("out")) == before and not read_files
        with caplog.at_level("INFO"):
            changed = evaluate("out", policy="published")
        assert len(read_files) == 10 and "policy was brats, now published" in caplog.text
        assert json.loads((changed / "summary.json").read_text())["policy"] == "published"


class TestSettings:
    def test_they_are_in_the_summary(self, evaluate, phantoms):
        settings = {"policy": "nan", "metrics": ["hd", "dice"], "min_region_voxels": {"ET": 30}, "blending": "gaussian"}
        settings["mirror_axes"] = [0]
        summary = json.loads((evaluate("out", **settings) / "summary.json").read_text())
        assert summary["run"] | settings == summary["run"] and summary["metrics"] == ["hd", "dice"]
        about = {"datalist": str(phantoms / "datalist.json"), "part": "test", "spacing": [1.0] * 3, "overlap": 0.0}
        assert summary["run"] | about == summary["run"] and len(summary["run"]["weights"]["sha256"]) == 64

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"policy": "zero"}, "unknown policy for empty masks 'zero'; accepted: brats, published, nan"),
            ({"metrics": ["iou"]}, "metrics must be among dice, hd95, hd, got iou"),
            ({"min_region_voxels": {"XT": 1}}, "min_region_voxels names the region 'XT'; accepted: WT, TC, ET"),
            ({"min_component_share": 1.5}, "--min_component_share: expected a number from 0 .*to 1 .*, got 1.5"),
            ({"blending": "mean"}, "blending must be one of constant, gaussian, got 'mean'"),
            ({"mirror_axes": [3]}, r"mirror_axes must be a list of different axes from 0 to 2, or empty, got \[3\]"),
        ],
    )
    def test_wrong_ones_are_refused_in_one_line(self, evaluate, refused, wrong, message):
        with refused(message):
            evaluate("out", **wrong)

    def test_label_maps_score_what_the_record_says(self, evaluate, phantoms):
        folder = evaluate("out", save_predictions=True, aggregate_on_cpu=True)
        case = Datalist(phantoms / "datalist.json").cases("test", BRATS2020.modalities)[1]
        with open(folder / "metrics.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["case"] == case["case"]]
        truth = nib.load(case["label"])
        found = {}
        for subset in {row["subset"] for row in rows}:
            image = nib.load(folder / "predictions" / case["case"] / f"{case['case']}_{subset}_seg.nii.gz")
            np.testing.assert_array_equal(image.affine, truth.affine)
            maps = [np.searchsorted([0, 1, 2, 4], np.asarray(each.dataobj)) for each in (image, truth)]
            found[subset] = score_case(*maps, BRATS2020.regions, (1, 1, 1)).values
        assert len(found) == 15
        for row in rows:
            assert float(row["value"]) == pytest.approx(found[row["subset"]][row["region"]][row["metric"]])


class TestSmallComponents:
    def test_inference_and_evaluation_remove_them_alike(self, run, workflow, random_weights_of, tmp_path):
        """By the bundle's own share, in volumes put together from slices; probabilities stay."""
        of = "tcga_lgg_rfnet"
        listed = Path(workflow("training", "train", of=of).parser.get("dataset_dir")) / "datalist.json"
        case = Datalist(listed).cases("test", TCGA_LGG.modalities)[0]
        one = tmp_path / "one.json"
        one.write_text(json.dumps({"test": [case]}))
        common = {"of": of, "ckpt": random_weights_of(of), "dataset_dir": one, "windows": "published"}
        subset, made = "+".join(TCGA_LGG.modalities), {}
        for name, given, told in (("all", {"min_component_share": 0.0}, 0.0), ("large", {}, 0.3)):
            out, settings = tmp_path / name, common | given
            run("evaluating", "train", "evaluate", output_dir=out, save_predictions=True, datalist=one, **settings)
            run("inference", "inference", output_dir=out / "segmented", save_probabilities=True, **settings)
            assert json.loads((out / "summary.json").read_text())["run"]["min_component_share"] == told
            evaluated = out / "predictions" / case["case"] / f"{case['case']}_{subset}_seg.nii.gz"
            files = (evaluated, *sorted((out / "segmented" / case["case"]).glob("*.nii.gz")))
            made[name] = [np.asarray(nib.load(file).dataobj) for file in files]
        component, _ = ndimage.label(made["all"][0], np.ones((3, 3, 3)))
        sizes = np.bincount(component.ravel())[1:]
        large = np.isin(component, 1 + np.flatnonzero(sizes >= 0.3 * sizes.max()))
        assert 0 < large.sum() < sizes.sum()
        for name, expected in (("all", component > 0), ("large", large)):
            evaluated, probabilities, segmented = made[name]
            np.testing.assert_array_equal(evaluated > 0, expected)
            np.testing.assert_array_equal(segmented > 0, expected)
            np.testing.assert_array_equal(probabilities, made["all"][1])


class TestValidationSubsets:
    def test_training_validates_with_the_named_ones(self, workflow, tmp_path):
        made = workflow("training", "train", validation_subsets=["t1+t2", "flair"], epochs=1, output_dir=tmp_path / "o")
        made.initialize()
        made.run()
        counts = made.parser.get_parsed_content("validate#handlers#0").book.counts()
        assert {name for name, count in counts.items() if count} == {"t1+t2", "flair"}

    @pytest.mark.parametrize(
        ("subsets", "message"),
        [
            (["t1", "pd"], "--validation_subsets: expected a non-empty subset of flair, t1ce, t1, t2, got"),
            ("t1", "--validation_subsets 't1': expected a list"),
        ],
    )
    def test_wrong_names_are_refused_in_one_line(self, run, refused, subsets, message):
        with refused(message):
            run("training", "train", validation_subsets=subsets)
