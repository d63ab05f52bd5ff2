"""Scores of label maps, and the record of an evaluation."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from passion_components.metrics import METRICS, ScoreBook, score_case, score_predictions

REGIONS = {"whole": (1, 2), "core": (2,)}


def of_region(value: float, distance: float = 1.0) -> dict[str, dict[str, float]]:
    return {"whole": {"dice": value, "hd95": distance}}


def means(entry: dict) -> dict:
    return {key: value for key, value in entry.items() if key not in ("decided_by_policy", "missed")}


@pytest.fixture
def book() -> ScoreBook:
    """Two cases; only the first one has t2."""
    book = ScoreBook(dataset="toy", modalities=("t1", "t2"))
    book.add("a", ("t1",), of_region(0.2, 10.0))
    book.add("b", ("t1",), of_region(0.4, 30.0))
    book.add("a", ("t2",), of_region(0.5, 5.0))
    book.add("a", ("t2", "t1"), of_region(0.9, 1.0))
    return book


class TestScorePredictions:
    @pytest.fixture
    def labels(self) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 3, size=(4, 6, 5, 4))

    def test_regions_are_unions_of_classes(self, labels):
        prediction, target = labels[:2]
        scores = score_case(prediction, target, REGIONS, (1.0, 2.0, 3.0))
        assert list(scores.values) == ["whole", "core"] and scores.empty == {}
        for region, classes in REGIONS.items():
            masks = np.isin(prediction, classes), np.isin(target, classes)
            assert scores.values[region] == {name: METRICS[name](*masks, (1.0, 2.0, 3.0)) for name in ("dice", "hd95")}

    def test_tensors_score_as_arrays(self, labels):
        prediction, target = map(torch.from_numpy, labels[:2])
        assert score_case(prediction, MetaTensor(target), REGIONS, (1, 1, 1)) == score_case(
            *labels[:2], REGIONS, (1, 1, 1)
        )
        assert METRICS["dice"](prediction > 0, target > 0) == METRICS["dice"](labels[0] > 0, labels[1] > 0)

    def test_many_predictions_score_as_each_alone(self, labels):
        target, predictions = labels[0], labels[1:]
        together = score_predictions(predictions, target, REGIONS, (1, 1, 1))
        assert together == [score_case(prediction, target, REGIONS, (1, 1, 1)) for prediction in predictions]
        assert together[0] != together[1]

    def test_policy_decides_about_a_missing_region(self, labels):
        nothing = np.zeros_like(labels[0])
        assert score_case(nothing, labels[0], REGIONS, (1, 1, 1), policy="published").values["core"]["hd95"] == 1.0
        scores = score_case(nothing, labels[0], REGIONS, (1, 1, 1))
        assert scores.values["core"]["hd95"] == 373.13 and scores.empty == {"whole": "one", "core": "one"}
        assert score_case(nothing, nothing, REGIONS, (1, 1, 1)).empty == {"whole": "both", "core": "both"}

    def test_a_region_is_missed_where_the_target_alone_has_it(self):
        nothing, some = np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), np.int16)
        some[0, 0, 0] = 1
        found = [
            score_case(*maps, REGIONS, (1, 1, 1)).missed for maps in ((nothing, some), (some, nothing), (some, some))
        ]
        assert found == [tuple(name for name, classes in REGIONS.items() if 1 in classes), (), ()]

    def test_only_the_wanted_metrics_are_there(self, labels):
        assert list(score_case(labels[0], labels[1], REGIONS, (1, 1, 1), metrics=("dice",)).values["core"]) == ["dice"]
        assert list(score_case(*labels[:2], REGIONS, (1, 1, 1), metrics=("hd", "dice")).values["core"]) == [
            "hd",
            "dice",
        ]

    @pytest.mark.parametrize(("least", "dice_of_core"), [(8, 1.0), (9, 0.0)])
    def test_a_region_of_too_few_voxels_counts_as_not_predicted(self, least, dice_of_core):
        labels = np.zeros((6, 6, 6), dtype=int)
        labels[:3, :3, :3], labels[:2, :2, :2] = 1, 2
        scores = score_predictions(labels[None], labels, REGIONS, (1, 1, 1), min_region_voxels={"core": least})[0]
        assert scores.values["core"]["dice"] == dice_of_core
        assert scores.values["whole"]["dice"] == 1.0, "its voxels still belong to the region around it"

    @pytest.mark.parametrize(
        ("least", "message"), [({"ET": 5}, "the region 'ET'; accepted: whole, core"), ({"core": -1}, "got -1")]
    )
    def test_least_sizes_that_make_no_sense_are_refused(self, labels, least, message):
        with pytest.raises(ValueError, match=message):
            score_predictions(labels[1:], labels[0], REGIONS, (1, 1, 1), min_region_voxels=least)

    @pytest.mark.parametrize("metrics", [("dice", "iou"), ()])
    def test_unknown_metrics_are_refused(self, labels, metrics):
        with pytest.raises(ValueError, match="metrics must be among dice, hd95"):
            score_case(labels[0], labels[1], REGIONS, (1, 1, 1), metrics=metrics)

    def test_other_shapes_are_refused(self, labels):
        with pytest.raises(ValueError, match="expected predictions of shape"):
            score_predictions(labels[0], labels[0], REGIONS, (1, 1, 1))

    def test_probabilities_are_refused(self, labels):
        with pytest.raises(ValueError, match="predictions must be integer class indices, got float64"):
            score_case(labels[0] / 2, labels[1], REGIONS, (1, 1, 1))


class TestScoreBook:
    def test_means_are_over_cases_then_over_subsets(self, book):
        # t1: (.2 + .4) / 2 = .3; t2: .5; both: .9
        assert book.mean("dice") == pytest.approx((0.3 + 0.5 + 0.9) / 3)
        assert book.mean("hd95") == pytest.approx((20 + 5 + 1) / 3)

    def test_mean_is_also_over_regions(self):
        book = ScoreBook(dataset="toy", modalities=("t1",))
        book.add("a", ["t1"], {"whole": {"dice": 0.8}, "core": {"dice": 0.2}})
        assert book.mean("dice") == pytest.approx(0.5)

    def test_a_case_counts_only_where_it_was_added(self, book):
        assert book.counts() == {"t1": 2, "t2": 1, "t1+t2": 1}
        entry = means(book.by_subset()["t1"])
        assert entry == {"n": 2, "dice": {"whole": pytest.approx(0.3)}, "hd95": {"whole": 20.0}}

    def test_a_subset_without_cases_is_shown_but_not_averaged(self):
        book = ScoreBook(dataset="toy", modalities=("t1", "t2"))
        book.add("a", ("t1",), of_region(0.6))
        summary = book.summary()
        assert means(summary["subsets"]["t2"]) == {"n": 0, "dice": {"whole": None}, "hd95": {"whole": None}}
        assert means(summary["mean_over_subsets"]) == {"n": 1, "dice": {"whole": 0.6}, "hd95": {"whole": 1.0}}
        assert summary["by_count"]["2"]["dice"] == {"whole": None}

    def test_by_count_averages_subsets_of_one_size(self, book):
        by_count = book.by_count()
        assert [by_count[size]["n"] for size in (1, 2)] == [3, 1]
        assert by_count[1]["dice"]["whole"] == pytest.approx((0.3 + 0.5) / 2)
        assert by_count[2]["dice"]["whole"] == 0.9

    def test_summary_holds_what_the_record_needs(self, book):
        summary = book.summary({"weights": "model.pt"})
        assert list(summary["subsets"]) == ["t1", "t2", "t1+t2"]
        assert summary["overall"] == {"n": 4, "dice": book.mean("dice"), "hd95": book.mean("hd95")}
        for key in ("subsets", "overall", "mean_over_subsets", "by_count", "complete_cases"):
            del summary[key]
        assert summary == {
            "dataset": "toy",
            "modalities": ["t1", "t2"],
            "regions": ["whole"],
            "metrics": ["dice", "hd95"],
            "policy": "brats",
            "cases": 2,
            "run": {"weights": "model.pt"},
        }

    def test_means_of_complete_cases_leave_out_whoever_lacks_a_modality(self, book):
        complete = book.summary()["complete_cases"]
        assert complete["n"] == 1
        assert means(complete["subsets"]["t1"]) == {"n": 1, "dice": {"whole": 0.2}, "hd95": {"whole": 10.0}}
        assert complete["mean_over_subsets"]["dice"]["whole"] == pytest.approx((0.2 + 0.5 + 0.9) / 3)

    def test_without_incomplete_cases_there_is_no_second_mean(self):
        book = ScoreBook(dataset="toy", modalities=("t1",))
        book.add("a", ("t1",), of_region(0.6))
        assert "complete_cases" not in book.summary()

    def test_what_the_policy_decided_is_counted_by_subset_and_over_all(self, book):
        book.add("c", ("t1",), of_region(1.0, 0.0), {"whole": "both"})
        book.add("b", ("t2",), of_region(0.0, 373.13), {"whole": "one"})
        summary = book.summary()
        counts = {name: entry["decided_by_policy"]["whole"] for name, entry in summary["subsets"].items()}
        assert counts["t1"] == {"both_empty": 1, "one_empty": 0}
        assert counts["t2"] == {"both_empty": 0, "one_empty": 1}
        assert counts["t1+t2"] == {"both_empty": 0, "one_empty": 0}
        assert summary["mean_over_subsets"]["decided_by_policy"]["whole"] == {"both_empty": 1, "one_empty": 1}
        assert summary["complete_cases"]["mean_over_subsets"]["decided_by_policy"]["whole"]["one_empty"] == 0

    def test_nan_by_policy_is_in_no_mean_but_in_the_rows(self):
        book = ScoreBook(dataset="toy", modalities=("t1", "t2"), policy="nan")
        nothing = {"whole": {"dice": float("nan")}}
        book.add("a", ("t1",), {"whole": {"dice": 0.4}})
        book.add("b", ("t1",), nothing, {"whole": "one"})
        book.add("a", ("t2",), nothing, {"whole": "both"})
        summary = book.summary()
        assert summary["subsets"]["t1"]["dice"]["whole"] == 0.4 and summary["subsets"]["t1"]["n"] == 2
        assert summary["subsets"]["t2"]["dice"]["whole"] is None
        assert summary["mean_over_subsets"]["dice"]["whole"] == 0.4 and book.mean("dice") == 0.4
        assert [str(row.value) for row in book.rows()] == ["0.4", "nan", "nan"]

    def test_where_every_score_is_excluded_there_is_no_mean(self):
        book = ScoreBook(dataset="toy", modalities=("t1",), policy="nan")
        book.add("a", ("t1",), {"whole": {"dice": float("nan")}}, {"whole": "both"})
        assert book.mean("dice") is None and book.summary()["overall"] == {"n": 1, "dice": None}

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_score_that_is_no_number_is_refused_by_name(self, book, value):
        with pytest.raises(ValueError, match=r"b, t2, whole: dice must be a finite number"):
            book.add("b", ("t2",), of_region(value))
        assert book.counts()["t2"] == 1

    def test_the_same_case_twice_is_refused(self, book):
        with pytest.raises(ValueError, match=r"a, t1\+t2: scored already"):
            book.add("a", ("t1", "t2"), of_region(0.1))

    def test_other_regions_or_metrics_than_before_are_refused(self, book):
        for scores in ({"core": {"dice": 1.0, "hd95": 0.0}}, {"whole": {"dice": 1.0}}, {}):
            with pytest.raises(ValueError, match="b, t2: expected scores of .*whole"):
                book.add("b", ("t2",), scores)

    def test_a_foreign_modality_is_refused(self, book):
        with pytest.raises(ValueError, match="non-empty subset of t1, t2"):
            book.add("b", ("pd",), of_region(0.1))

    def test_nothing_has_no_mean(self):
        empty = ScoreBook(dataset="toy", modalities=("t1",))
        with pytest.raises(ValueError, match="no scores of 'dice'"):
            empty.mean("dice")
        with pytest.raises(ValueError, match="no scores to summarise"):
            empty.summary()

    def test_an_unknown_policy_is_refused(self):
        with pytest.raises(ValueError, match="accepted: brats, published, nan"):
            ScoreBook(dataset="toy", modalities=("t1",), policy="zero")


class TestFiles:
    def test_csv_gives_back_the_same_numbers(self, book, tmp_path):
        book.add("c, d", ("t1",), of_region(1 / 3, np.float64(0.1) + 0.2))
        book.write_csv(tmp_path / "out" / "metrics.csv")
        with open(tmp_path / "out" / "metrics.csv", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["case", "subset", "region", "metric", "value"]
        assert [(*row[:4], float(row[4])) for row in rows[1:]] == [tuple(row) for row in book.rows()]
        assert ("c, d", "t1", "whole", "hd95", 0.1 + 0.2) in book.rows()

    def test_rows_are_ordered_by_subset_and_case_in_whatever_order_they_came(self):
        book = ScoreBook(dataset="toy", modalities=("t1", "t2"))
        for case, subset in (("a", ("t1", "t2")), ("b", ("t1",)), ("a", ("t2",)), ("a", ("t1",))):
            book.add(case, subset, of_region(0.5))
        assert [(row.subset, row.case) for row in book.rows() if row.metric == "dice"] == [
            ("t1", "a"),
            ("t1", "b"),
            ("t2", "a"),
            ("t1+t2", "a"),
        ]

    def test_json_is_the_summary(self, book, tmp_path):
        book.write_json(tmp_path / "summary.json", {"seconds": 1.5})
        assert json.loads((tmp_path / "summary.json").read_text()) == book.summary({"seconds": 1.5})

    def test_a_failed_write_leaves_the_old_file(self, book, tmp_path):
        book.write_json(tmp_path / "summary.json")
        before = (tmp_path / "summary.json").read_text()
        with pytest.raises(ValueError):
            book.write_json(tmp_path / "summary.json", {"seconds": float("nan")})
        assert (tmp_path / "summary.json").read_text() == before
        assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
