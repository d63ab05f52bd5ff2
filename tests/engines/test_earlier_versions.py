"""Descriptions of runs that earlier versions wrote."""

import json
from pathlib import Path

import pytest

from passion_components.engines.earlier_versions import as_now, with_untold
from passion_components.engines.settings import settings_of
from passion_components.objectives import BaselineObjective, PassionObjective, PMRObjective, ReleasedObjective
from passion_components.preference import RelativePreference, ReleasedPreference

SHIPPED = Path(__file__).resolve().parents[2] / "bundles" / "tcga_lgg_rfnet" / "models" / "model.json"
RATES = {"flair": 0.25, "t1": 0.0}
PASSION = (
    "PassionObjective( lambda1=0.5, lambda2=0.1, gamma=0.01, pixel=True, semantic=True, delta=True, beta=True, "
    "warmup=0 (segmentation_loss): SegmentationLoss(class_weights=(0.5, 1.5)) "
    "(distillation_loss): MultiUniDistillationLoss(temperature=4.0) )"
)


def make(kind):
    if kind in (BaselineObjective, PMRObjective):
        return kind(class_weights=(0.5, 1.5))
    preference = RelativePreference if kind is PassionObjective else ReleasedPreference
    return kind(preference=preference(modalities=tuple(RATES), missing_rates=RATES, gamma=0.03))


def test_texts_of_earlier_versions_tell_what_they_were():
    said = as_now({"network": "RFNet, 657,706 parameters", "objective": PASSION})
    assert said["network"] == {"class": "RFNet", "parameters": 657706}
    assert said["objective"] == {
        "class": "PassionObjective",
        "lambda1": 0.5,
        "lambda2": 0.1,
        "preference": {"gamma": 0.01},
        "pixel": True,
        "semantic": True,
        "delta": True,
        "beta": True,
        "distillation_warmup": 0,
        "segmentation_loss": {"class": "SegmentationLoss", "class_weights": [0.5, 1.5]},
        "distillation_loss": {"class": "MultiUniDistillationLoss", "temperature": 4.0},
    }


def test_the_shipped_weights_tell_what_they_were():
    said = as_now(json.loads(SHIPPED.read_text())["trained_on"])
    assert said["network"] == {"class": "RFNet", "parameters": 657706}
    assert said["objective"]["class"] == "PassionObjective" and said["objective"]["unimodal"] == "neglected"
    assert said["objective"]["distillation_loss"]["temperature_squared"] is False


@pytest.mark.parametrize("kind", [BaselineObjective, PassionObjective, PMRObjective, ReleasedObjective])
def test_the_text_of_an_objective_says_nothing_but_what_its_settings_say(kind):
    objective = make(kind)
    told, now = as_now({"objective": " ".join(repr(objective).split())})["objective"], settings_of(objective)
    assert told["class"] == kind.__name__ and len(told) > 1
    assert with_untold(told, now) == now


def test_settings_beside_the_text_are_all_that_counts():
    said = {"objective": "PMRObjective( lambda_pmr=0.1 )", "objective_settings": {"class": "PMRObjective", "power": 2}}
    assert as_now(said) == {"objective": {"class": "PMRObjective", "power": 2}}


def test_what_is_written_now_stays_as_it_is():
    said = {"network": {"class": "RFNet", "parameters": 3}, "objective": settings_of(make(PassionObjective)), "seed": 0}
    assert as_now(said) == said


@pytest.mark.parametrize("strange", [7, None, ["PassionObjective"]])
def test_what_has_no_known_form_is_not_there(strange):
    assert as_now({"objective": strange, "network": strange, "seed": 0}) == {"seed": 0}


def test_words_in_a_text_stay_words_and_are_never_executed():
    text = "Own( mode=mean, path=__import__('os').getcwd() )"
    assert as_now({"objective": text})["objective"]["mode"] == "mean"


def test_what_is_not_told_is_taken_as_it_is_now_at_any_depth():
    before, now = {"a": {"b": 1}, "gone": 2}, {"a": {"b": 3, "c": 4}, "d": 5}
    assert with_untold(before, now) == {"a": {"b": 1, "c": 4}, "gone": 2, "d": 5}
    assert with_untold("text", now) == "text"
