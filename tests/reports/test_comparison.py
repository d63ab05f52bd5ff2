"""Repetitions, and paired differences with their intervals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from passion_components.reports.comparable import check_comparable, remarks, unknown_repetitions
from passion_components.reports.comparison import Setting, difference, settings_of
from passion_components.reports.layouts import comparison_tables
from passion_components.reports.runs import RunError, read_run, read_runs

from .conftest import write_scores, write_training

PASSION = "PassionObjective( lambda1=0.5, pixel=True, semantic=True, delta=True, beta=True )"


def setting(make_run, name: str, dice, **description) -> Setting:
    return Setting(name, (read_run(make_run(name, dice, **description), name),))


@pytest.fixture
def scored(make_run):
    """A run whose evaluation had these settings."""

    def make(name: str, seed: int = 0, **settings):
        folder = make_run(name, {"P1": 0.5}, seed=seed)
        path = folder / "summary.json"
        summary = json.loads(path.read_text())
        summary["run"] |= settings
        path.write_text(json.dumps(summary))
        return folder

    return make


class TestSettings:
    def test_runs_that_differ_in_their_seed_are_one_setting(self, make_run):
        folders = [make_run(f"r{seed}", {"P1": 0.5}, seed=seed) for seed in (0, 1)]
        folders.insert(1, make_run("p", {"P1": 0.5}, objective=PASSION))
        grouped = settings_of(read_runs(list(map(str, folders))))
        assert [(s.name, [run.name for run in s.runs]) for s in grouped] == [("r0", ["r0", "r1"]), ("p", ["p"])]

    def test_equal_descriptions_with_equal_seeds_stay_apart(self, make_run):
        folders = [make_run(name, {"P1": 0.5}) for name in ("baseline", "moddrop")]
        assert [s.name for s in settings_of(read_runs(list(map(str, folders))))] == ["baseline", "moddrop"]

    def test_names_given_by_the_user_decide(self, make_run):
        folders = [make_run(f"r{seed}", {"P1": 0.5}, seed=seed) for seed in range(4)]
        words = [f"{name}={folder}" for name, folder in zip("abab", folders, strict=True)]
        assert [(s.name, len(s.runs)) for s in settings_of(read_runs(words))] == [("a", 2), ("b", 2)]

    def test_one_name_for_different_trainings_is_refused(self, make_run):
        words = [f"a={make_run('x', {'P1': 0.5})}", f"a={make_run('y', {'P1': 0.5}, training_cases=9)}"]
        with pytest.raises(RunError, match="training_cases is 9, but 5 in .*x, also named 'a'"):
            settings_of(read_runs(words))

    def test_the_innermost_key_that_differs_is_named(self, make_run):
        made = [
            make_run(name, {"P1": 0.5}, input={"crop": [size], "axes": "RAS"}) for name, size in (("x", 48), ("y", 64))
        ]
        with pytest.raises(RunError, match=r"y: input.crop is 64, but 48 in .*x, also named 'a'"):
            settings_of(read_runs([f"a={folder}" for folder in made]))
        assert len(settings_of(read_runs(list(map(str, made))))) == 2

    @pytest.mark.parametrize("key", ["epochs", "learning_rate"])
    def test_any_key_but_the_seed_keeps_runs_apart(self, make_run, key):
        made = [make_run(f"r{seed}", {"P1": 0.5}, seed=seed, **{key: seed}) for seed in (1, 3)]
        assert [s.name for s in settings_of(read_runs(list(map(str, made))))] == ["r1", "r3"]
        with pytest.raises(RunError, match=f"r3: {key} is 3, but 1 in .*r1"):
            settings_of(read_runs([f"a={folder}" for folder in made]))

    def test_what_an_old_record_does_not_tell_is_unknown_and_said(self, make_run):
        baseline = {"class": "BaselineObjective", "segmentation_loss": {"class": "SegmentationLoss"}}
        made = [
            make_run("old", {"P1": 0.5}),
            make_run("new", {"P1": 0.5}, seed=1, epochs=3, input={}, objective=baseline | {"power": 2}),
        ]
        ((setting),) = settings_of(read_runs([f"a={folder}" for folder in made]))
        (said,) = unknown_repetitions(setting.runs)
        assert f"{made[0]}: its record of training does not tell input, epochs, all of objective; whether" in said
        assert unknown_repetitions(setting.runs[1:]) == []

    def test_an_objective_that_is_told_otherwise_is_another_one_however_old(self, make_run):
        weighted = {"class": "BaselineObjective", "segmentation_loss": {"class": "SegmentationLoss", "power": 2}}
        text = "BaselineObjective( (segmentation_loss): SegmentationLoss(power=1) )"
        made = [make_run("old", {"P1": 0.5}, objective=text), make_run("new", {"P1": 0.5}, seed=1, objective=weighted)]
        with pytest.raises(RunError, match="new: objective.segmentation_loss.power is 2, but 1 in .*old"):
            settings_of(read_runs([f"a={folder}" for folder in made]))

    def test_scores_of_the_same_weights_are_no_repetition(self, make_run):
        folder = make_run("x", {"P1": 0.5})
        copy = shutil.copytree(folder, folder.parent / "copy")
        with pytest.raises(RunError, match="copy: holds scores of the same weights as .*x, also named 'a'"):
            settings_of(read_runs([f"a={folder}", f"a={copy}"]))

    def test_repetitions_are_scored_alike(self, scored):
        made = [scored("x", overlap=0.5), scored("y", overlap=0.25)]
        with pytest.raises(RunError, match="y: overlap is 0.25, but 0.5 in .*x, also named 'a'"):
            settings_of(read_runs([f"a={folder}" for folder in made]))
        assert len(settings_of(read_runs(list(map(str, made))))) == 2

    def test_runs_without_a_description_stay_apart(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            write_scores(tmp_path / name, {"P1": 0.5})
        assert len(settings_of(read_runs([str(tmp_path / "a"), str(tmp_path / "b")]))) == 2


class TestComparable:
    def test_another_policy_is_refused(self, make_run):
        folders = [make_run("a", {"P1": 0.5}), make_run("b", {"P1": 0.5})]
        write_scores(folders[1], {"P1": 0.5}, policy="published")
        with pytest.raises(RunError, match="policy is published, but brats in .*expected one for all runs of a table"):
            check_comparable(read_runs(list(map(str, folders))))

    @pytest.mark.parametrize(
        ("key", "first", "second", "said"),
        [
            ("part", "test", "validation", "part is validation, but test in"),
            ("label_scheme", None, "brats2023", "label_scheme is brats2023, but None in"),
            ("min_region_voxels", {"lesion": 0}, {"lesion": 500}, "min_region_voxels is {'lesion': 500}, but {} in"),
        ],
    )
    def test_another_measure_is_refused_by_name(self, scored, key, first, second, said):
        folders = [scored("a", **{key: first}), scored("b", **{key: second})]
        with pytest.raises(RunError, match=said):
            check_comparable(read_runs(list(map(str, folders))))

    @pytest.mark.parametrize("key", ["spacing", "overlap", "roi_size", "blending", "resample_to", "amp"])
    def test_another_way_to_predict_is_said_by_name(self, scored, key):
        folders = [scored("a", **{key: 1}), scored("b", **{key: 1}), scored("c", **{key: 2}), scored("d")]
        runs = read_runs(list(map(str, folders)))
        check_comparable(runs)
        assert remarks(runs) == [f"{key} differs: 1 (a, b); 2 (c); not recorded (d)"]
        *_, table = comparison_tables(settings_of(runs))
        assert f"Note: {key} differs: 1 (a, b); 2 (c)" in table.caption
        assert remarks(runs[:2]) == []

    def test_an_empty_list_is_said_to_be_one(self, scored):
        runs = read_runs([str(scored("a", unpredicted=["P1"])), str(scored("b", unpredicted=[]))])
        assert remarks(runs) == ["unpredicted differs: P1 (a); none (b)"]

    def test_a_share_of_components_that_is_not_recorded_was_none(self, scored):
        folders = [scored("a"), scored("b", min_component_share=0.0), scored("c", min_component_share=0.3)]
        runs = read_runs(list(map(str, folders)))
        check_comparable(runs)
        assert remarks(runs[:2]) == [] and remarks(runs) == ["min_component_share differs: 0.0 (a, b); 0.3 (c)"]

    def test_cases_that_held_something_else_are_refused_by_name(self, scored):
        first = scored("a", files={"P1": {"t1": "00", "label": "11"}, "P2": {"label": "22"}})
        scored("moved", files={"P1": {"label": "11"}})
        other = scored("b", files={"P1": {"t1": "00", "label": "12"}})
        check_comparable(read_runs([str(first), str(first.parent / "moved")]))
        with pytest.raises(RunError, match="b: label of case P1 held something else than in .*a; expected scores from"):
            check_comparable(read_runs([str(first), str(other)]))

    def test_other_cases_are_said(self, make_run):
        folders = [make_run("a", {"P1": 0.5}), make_run("b", {"P2": 0.5})]
        assert remarks(read_runs(list(map(str, folders)))) == ["runs were scored on different cases"]

    def test_a_run_without_scores_is_refused(self, tmp_path):
        write_training(tmp_path / "a")
        with pytest.raises(RunError, match="has no summary.json; score it first"):
            check_comparable([read_run(tmp_path / "a", "a")])


class TestDifference:
    def test_interval_of_two_cases_reaches_from_one_to_the_other(self, make_run):
        first, other = setting(make_run, "a", {"P1": 0.5, "P2": 0.5}), setting(make_run, "b", {"P1": 0.6, "P2": 0.9})
        paired = difference(other, first)
        # a quarter of the resamples holds P1 alone, a quarter P2 alone
        for array, expected in ((paired.value, 0.25), (paired.low, 0.1), (paired.high, 0.4)):
            assert array.shape == (1 + 7, 2, 2)
            np.testing.assert_allclose(array[:, 0], expected, atol=1e-12)
            np.testing.assert_allclose(array[:, 1], 10 * expected, atol=1e-12)
        assert paired.cases.tolist() == [2] * 8

    def test_interval_narrows_as_that_of_a_mean(self, make_run):
        rng = np.random.default_rng(0)
        gains = {f"P{i}": float(gain) for i, gain in enumerate(rng.normal(0, 0.05, 100))}
        first = setting(make_run, "a", dict.fromkeys(gains, 0.5))
        paired = difference(setting(make_run, "b", {case: 0.5 + gain for case, gain in gains.items()}), first)
        half = (paired.high - paired.low)[0, 0, 0] / 2
        assert half == pytest.approx(1.96 * np.std(list(gains.values())) / 10, rel=0.05)

    def test_only_pairs_count(self, make_run):
        first, other = setting(make_run, "a", {"P1": 0.5, "P2": 0.5}), setting(make_run, "b", {"P2": 0.8, "P3": 0.1})
        paired = difference(other, first)
        assert paired.cases.tolist() == [1] * 8
        np.testing.assert_allclose(paired.value[:, 0, 0], 0.3)
        assert np.isnan(paired.low).all() and np.isnan(paired.high).all()

    def test_scores_without_value_are_left_out(self, make_run):
        folder = make_run("b", {"P1": 0.6, "P2": 0.9})
        text = (folder / "metrics.csv").read_text()
        lines = ["P2,t1,lesion,dice,nan" if line.startswith("P2,t1,lesion,dice") else line for line in text.split("\n")]
        (folder / "metrics.csv").write_text("\n".join(lines))
        paired = difference(Setting("b", (read_run(folder, "b"),)), setting(make_run, "a", {"P1": 0.5, "P2": 0.5}))
        np.testing.assert_allclose(paired.value[1:, 0, 0], [0.1] + [0.25] * 6)
        np.testing.assert_allclose(paired.value[0, 0, 0], (0.1 + 6 * 0.25) / 7)

    def test_one_pair_with_a_value_has_no_interval(self, make_run):
        folder = make_run("b", {"P1": 0.6, "P2": 0.9})
        lines = (folder / "metrics.csv").read_text().split("\n")
        without = [
            f"{line.rsplit(',', 1)[0]},nan" if line.startswith("P2") and ",hd95," in line else line for line in lines
        ]
        (folder / "metrics.csv").write_text("\n".join(without))
        paired = difference(Setting("b", (read_run(folder, "b"),)), setting(make_run, "a", {"P1": 0.5, "P2": 0.5}))
        dice, hd95 = paired.low[:, 0], paired.low[:, 1]
        assert np.isfinite(dice).all() and np.isnan(hd95).all() and np.isnan(paired.high[:, 1]).all()
        np.testing.assert_allclose(paired.value[:, 1, 0], 1.0)

    def test_runs_of_a_setting_are_averaged_first(self, make_run):
        runs = [read_run(make_run(f"r{i}", {"P1": dice, "P2": dice}), f"r{i}") for i, dice in enumerate((0.5, 0.7))]
        first = setting(make_run, "a", {"P1": 0.4, "P2": 0.4})
        np.testing.assert_allclose(difference(Setting("r", tuple(runs)), first).value[:, 0, 0], 0.2)

    def test_same_runs_same_interval(self, make_run):
        rng = np.random.default_rng(1)
        settings = [setting(make_run, n, {f"P{i}": rng.uniform(0.3, 1) for i in range(9)}) for n in "ab"]
        np.testing.assert_array_equal(difference(*settings).low, difference(*settings).low)
