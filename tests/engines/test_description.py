"""What runs say of themselves: all that changes weights, by name."""

import json

import pytest
import torch
from monai.transforms import Compose, RandFlipd
from torch import nn
from torch.utils.data import DataLoader

from passion_components.backbones.mmformer import MMFormer
from passion_components.data.lists.datalist import Datalist
from passion_components.data.training.dataset import CaseDataset
from passion_components.datasets import BRATS2020, MYOPS2020
from passion_components.engines.description import describe_evaluation, describe_run
from passion_components.engines.settings import differences, optimizer_settings, settings_of
from passion_components.handlers.schedule import PolyScheduleHandler
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.objectives import PassionObjective
from passion_components.preference import RelativePreference
from passion_components.transforms.skull import WarnIfNormalisedd
from passion_components.transforms.slices import WarnUnlessAxiald


def objective(**settings) -> PassionObjective:
    rates = {"flair": 0.25, "t1": 0.0}
    preference = RelativePreference(modalities=("flair", "t1"), missing_rates=rates, gamma=settings.pop("gamma", 0.01))
    return PassionObjective(preference=preference, **settings)


class TestSettingsOf:
    def test_an_objective_is_its_class_with_switches_and_numbers(self):
        said = settings_of(objective(delta=False, class_weights=(0.5, 1.5)))
        assert said["class"] == "PassionObjective" and said["lambda1"] == 0.5 and said["delta"] is False
        assert said["beta"] is True and said["preference"]["gamma"] == 0.01
        assert said["segmentation_loss"]["class_weights"] == [0.5, 1.5]
        assert said["distillation_loss"]["temperature"] == 4.0
        assert json.loads(json.dumps(said)) == said

    def test_what_moves_in_a_run_is_left_out(self):
        moved = objective()
        moved.set_epoch(7)
        moved.eval()
        moved.preference.update(torch.ones(2), torch.ones(2))
        assert settings_of(moved) == settings_of(objective())

    def test_transforms_tell_those_within(self):
        flips = [Compose([RandFlipd("image", prob=prob, spatial_axis=0)]) for prob in (0.5, 0.25)]
        assert differences(*map(settings_of, flips)) == {"transforms.0.prob": (0.5, 0.25)}

    def test_transforms_that_only_warn_make_no_other_run(self):
        warns = [WarnUnlessAxiald(), WarnIfNormalisedd(modalities=["t1"])]
        flip = RandFlipd("image", prob=0.5)
        assert settings_of(Compose([*warns, flip])) == settings_of(Compose([flip]))

    def test_an_optimizer_tells_all_but_its_rate(self):
        parameter = [nn.Parameter(torch.zeros(1))]
        first = torch.optim.AdamW(parameter, lr=0.1, weight_decay=0.5)
        second = torch.optim.AdamW(parameter, lr=0.2, amsgrad=True, weight_decay=0.25)
        told = differences(optimizer_settings(first), optimizer_settings(second))
        assert told == {"amsgrad": (False, True), "weight_decay": (0.5, 0.25)}
        assert optimizer_settings(first)["class"] == "AdamW"

    def test_by_which_kernel_an_optimizer_computes_changes_no_run(self):
        parameters = [torch.nn.Parameter(torch.zeros(1))]
        plain, fused = (torch.optim.AdamW(parameters, fused=fused) for fused in (None, True))
        assert optimizer_settings(plain) == optimizer_settings(fused)


def test_differences_are_named_by_their_place_the_shallowest_first():
    before = {"a": {"b": [1, 2]}, "seed": 0, "same": (1, 2)}
    now = {"a": {"b": [1, 3, 4]}, "seed": 1, "same": [1, 2]}
    assert list(differences(before, now).items()) == [("seed", (0, 1)), ("a.b.1", (2, 3)), ("a.b.2", (None, 4))]


class TestDescribeRun:
    @pytest.fixture
    def describe(self, tmp_path):
        def run(folder, names=BRATS2020.modalities, **contents):
            (tmp_path / folder).mkdir()
            for name in ("flair", "label"):
                (tmp_path / folder / f"{name}.nii.gz").write_text(contents.get(name, "same"))
            case = {"case": "a", "label": "label.nii.gz", **dict.fromkeys(names, "flair.nii.gz")}
            path = tmp_path / folder / "datalist.json"
            path.write_text(json.dumps({"training": [case], "validation": [], "test": []}))
            network = nn.Linear(1, 1)
            optimizer = torch.optim.AdamW(network.parameters())
            dataset = CaseDataset([case], Compose([]), Compose([]), seed=3)
            return describe_run(
                spec=BRATS2020,
                modalities=names,
                spacing=[1.0, 1.0, 2.0],
                network=network,
                objective=objective(),
                schedule=PolyScheduleHandler(optimizer, epochs=4, decimals=8),
                dataloader=DataLoader(dataset, batch_size=2),
                inferer=ModalityAwareInferer(roi_size=[80, 80, 80], overlap=0.25),
                datalist=Datalist(path),
                label_scheme=None,
                presence_sampling=[],
                ckpt="",
                resume=False,
                output_dir=tmp_path,
                val_interval=7,
            )

        return run

    def test_labels_of_another_folder_are_other_data_and_a_copy_is_the_same(self, describe):
        first = describe("a")
        assert describe("b") == first
        assert differences(first, describe("c", label="other")).keys() == {"files"}

    def test_sequences_that_are_no_channels_need_not_be_in_the_training(self, describe):
        assert describe("a", names=("t1", "flair"))["missing_rates"] == {"t1": 0, "flair": 0}

    def test_everything_that_changes_weights_is_in_it(self, describe):
        said = describe("a")
        expected = {"seed": 3, "batch_size": 2, "processes": 1, "val_interval": 7, "learning_rate": 1e-3}
        expected |= {"epochs": 4, "lr_horizon": 4, "lr_power": 0.9, "lr_decimals": 8, "started_from": None}
        expected |= {"overlap": 0.25, "blending": "constant"}
        assert {name: said[name] for name in expected} == expected and json.loads(json.dumps(said)) == said
        assert (said["input"]["spacing"], said["input"]["crop"]) == ([1.0, 1.0, 2.0], [80, 80, 80])
        assert said["optimizer"]["weight_decay"] == 0.01
        assert said["objective"] == settings_of(objective()) and said["network"] == {"class": "Linear", "parameters": 2}


class TestDescribeEvaluation:
    @pytest.fixture
    def describe(self, tmp_path):
        path = tmp_path / "datalist.json"
        path.write_text(json.dumps({"training": [], "validation": [], "test": []}))

        def run(prob=0.5, **changed):
            sizes = {"img_size": (32, 32), "spatial_dims": 2, "width": 2, "token_dim": 8, "mlp_dim": 8, "num_heads": 2}
            network = MMFormer(n_modalities=3, n_classes=4, **(sizes | changed))
            preprocessing = Compose([RandFlipd("image", prob=prob)])
            return describe_evaluation(
                spec=MYOPS2020, network=network, preprocessing=preprocessing, datalist=Datalist(path), part="test"
            )

        return run

    def test_what_no_shape_tells_of_a_network_counts(self, describe):
        assert differences(describe(), describe(num_heads=4)) == {"network.num_heads": (2, 4)}
        changed = differences(describe(), describe(token_layout="published"))
        assert changed == {"network.token_layout": ("aligned", "published")}

    def test_a_number_of_the_preprocessing_counts(self, describe):
        assert differences(describe(), describe(prob=0.25)).keys() == {"preprocessing"}
        assert describe() == json.loads(json.dumps(describe())) and describe()["part"] == "test"
