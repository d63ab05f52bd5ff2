import json
import sys
from pathlib import Path

import pytest
import torch

from passion_components import datasets
from passion_components.backbones.rfnet import RFNet
from passion_components.data.errors import UserError
from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import BRATS2020
from passion_components.engines import command_line as command_line_module
from passion_components.engines.checks import (
    check_cases,
    check_training,
    check_windows,
    checked_datalist,
    checked_dataset,
    checked_scans,
)
from passion_components.engines.command_line import check_arguments, with_own_data
from passion_components.inferers.modality_aware import ModalityAwareInferer

MODALITIES = ("flair", "t1")


@pytest.fixture
def command_line(monkeypatch, tmp_path):
    """Pretend that ``monai.bundle run`` was called with these words, in a folder with two configs."""
    train = {"epochs": 1, "train": {}, "validate": {}, "validate#dataset": 2, "+imports": []}
    (tmp_path / "train.json").write_text(json.dumps(train))
    (tmp_path / "demo.json").write_text(json.dumps({"roi_size": [32]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line_module, "on_command_line", lambda: True)

    def call(*words, files="['train.json', 'demo.json']"):
        monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "training", "--config_file", files, *words])
        check_arguments()

    return call


class TestArguments:
    @pytest.mark.parametrize(
        ("word", "nearest"),
        [("--epoks", "epochs"), ("--epoch", "epochs"), ("--roisize", "roi_size"), ("--trian#handlers#0", "train")],
    )
    def test_an_unknown_one_is_refused_with_the_nearest(self, command_line, word, nearest):
        name = word[2:].split("#")[0]
        with pytest.raises(UserError, match=f"^unknown argument --{name}; did you mean --{nearest}\\?$"):
            command_line(word, "3")

    @pytest.mark.parametrize(
        "words",
        [
            ("--epochs", "3"),
            ("--epochs=3",),
            ("--train#handlers#0", "x"),
            ("--validate#dataset#cache", "True"),
            ("--imports", "[]"),
            ("--roi_size", "[-1]"),
            ("--meta_file", "m.json", "--logging_file", "l.conf", "--run_id", "training"),
        ],
        ids=" ".join,
    )
    def test_known_ones_pass(self, command_line, words):
        command_line(*words)

    @pytest.mark.parametrize("name", ["inferer.json", "inferer.yaml"])
    def test_a_misspelt_nested_one_is_refused_with_the_nearest(self, command_line, tmp_path, name):
        target = "passion_components.inferers.modality_aware.ModalityAwareInferer"
        (tmp_path / name).write_text(json.dumps({"inferer": {"_target_": target}}))
        for word in ("--inferer#overlap", "--inferer::overlap", "--inferer#_disabled_"):
            command_line(word, "0.1", files=name)
        with pytest.raises(
            UserError, match=r"^unknown argument --inferer#overlapp \(did you mean overlap\?\); accepted"
        ):
            command_line("--inferer#overlapp", "0.1", files=name)

    def test_an_entry_that_its_group_has_not_is_refused_and_an_empty_group_takes_any(self, command_line, tmp_path):
        config = {"validate": {"inferer": {}, "dataset": {}}, "validate#handlers": [], "min_region_voxels": {}}
        (tmp_path / "groups.json").write_text(json.dumps(config))
        for word in ("--validate#handlers", "--validate#inferer", "--min_region_voxels#ET"):
            command_line(word, "0", files="groups.json")
        with pytest.raises(UserError, match=r"--validate#infere \(did you mean inferer\?\); validate has dataset, h"):
            command_line("--validate#infere", "0", files="groups.json")

    def test_those_of_another_run_are_told_and_those_of_tracking_pass(self, command_line, tmp_path, caplog):
        config = {"epochs": 1, "seed": 0, "training": ["$range(@epochs)"], "initialize": ["$print(@seed)"]}
        (tmp_path / "both.json").write_text(json.dumps(config | {"evaluating": []}))
        command_line("--epochs", "3", "--seed", "1", files="both.json")
        assert not caplog.records
        command_line("--epochs", "3", "--seed", "1", "--run_id", "evaluating", files="both.json")
        assert [record.getMessage() for record in caplog.records] == ["--epochs: no effect on evaluating"]
        (tmp_path / "args.json").write_text(json.dumps({"run_id": "evaluating", "tracking": "mlflow"}))
        command_line("--epochs", "3", "--run_name", "mine", "--args_file", "args.json", files="both.json")
        assert caplog.records[1].getMessage() == "--epochs: no effect on evaluating"
        command_line("--tracking", "mlflow", "--run_name", "mine", files="both.json")
        with pytest.raises(UserError, match="unknown argument --run_name"):
            command_line("--run_name", "mine", files="both.json")

    def test_an_args_file_is_checked_like_flags(self, command_line, tmp_path):
        (tmp_path / "args.json").write_text(json.dumps({"epoks": 3}))
        with pytest.raises(UserError, match="^unknown argument --epoks; did you mean --epochs"):
            command_line("--args_file", "args.json")

    def test_a_path_that_reads_as_something_else_is_refused_with_the_fix(self, command_line):
        for path, value in (("2024_01_05", "20240105"), ("a,b", r"\('a', 'b'\)"), ("None", "None")):
            line = f"^--dataset_dir {path} is read as {value}, no path; write --dataset_dir ./{path}$"
            with pytest.raises(UserError, match=line):
                command_line("--dataset_dir", path)

    def test_one_file_without_brackets(self, command_line):
        with pytest.raises(UserError, match="--roi_size; did you mean"):
            command_line("--roi_size", "[1]", files="train.json")

    def test_files_that_cannot_be_read_are_left_to_monai(self, command_line):
        command_line("--epoks", "3", files="nowhere.json")

    def test_those_of_another_program_are_its_own(self, command_line, monkeypatch):
        monkeypatch.setattr(command_line_module, "on_command_line", lambda: False)
        command_line("--epoks", "3")

    @pytest.mark.parametrize(("version", "broken"), [("2.9.1+cu128", True), ("2.10.0", False), ("2.8.0", False)])
    def test_a_broken_pytorch_is_told(self, command_line, monkeypatch, caplog, version, broken):
        monkeypatch.setattr(torch, "__version__", version)
        command_line()
        assert ("its 3D convolutions are broken" in caplog.text) == broken

    def test_two_overlays_of_a_kind_are_refused(self, command_line):
        with pytest.raises(UserError, match="^the overlays a and b each choose the objective; give one"):
            check_arguments(objectives=["a", "b"])
        with pytest.raises(UserError, match="each choose the sampling of presence"):
            check_arguments(presence_sampling=["moddrop", "pdt"])
        check_arguments(objectives=["a"], presence_sampling=["moddrop"])


@pytest.fixture
def datalist(tmp_path):
    for name in ("flair", "seg"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"x")
    case = {"case": "a", "flair": "flair.nii.gz", "label": "seg.nii.gz"}
    complete = case | dict.fromkeys(MODALITIES, "flair.nii.gz")
    path = tmp_path / "datalist.json"

    def write(training=(complete,), validation=()):
        path.write_text(json.dumps({"training": list(training), "validation": list(validation), "test": []}))
        return Datalist(path)

    write.case = case
    return write


class TestTraining:
    def check(self, datalist, tmp_path, **overrides):
        settings = {
            "spec": BRATS2020,
            "spacing": [1, 1],
            "network": RFNet(n_modalities=2, n_classes=2, spatial_dims=2, width=4),
            "inferer": ModalityAwareInferer(roi_size=[16, 16]),
            "label_scheme": None,
            "resample_to": None,
            "register_to": None,
            "output_dir": tmp_path / "out",
            "resume": False,
            "epochs": 4,
            "lr_horizon": None,
            "modalities": MODALITIES,
        }
        check_training(datalist=datalist, **(settings | overrides))

    def test_passes_without_validation_cases(self, datalist, tmp_path):
        self.check(datalist(), tmp_path)
        self.check(datalist(), tmp_path, epochs=4, lr_horizon=4)

    def test_sequences_that_are_no_channels_are_told(self, datalist, tmp_path, caplog):
        self.check(datalist(), tmp_path)
        assert caplog.messages == ["channels of the network: flair, t1; not used: t1ce, t2"]

    def test_perfect_data_training_on_incomplete_cases_is_told(self, datalist, tmp_path, caplog):
        complete = {**dict.fromkeys(MODALITIES, "flair.nii.gz"), "label": "seg.nii.gz", "case": "b"}
        self.check(datalist([complete]), tmp_path, presence_sampling=["pdt"])
        self.check(datalist([datalist.case, complete]), tmp_path, presence_sampling=["moddrop"])
        assert "perfect data" not in caplog.text
        self.check(datalist([datalist.case, complete]), tmp_path, presence_sampling=["pdt"])
        assert f"1 of 2 training cases of {tmp_path}" in caplog.text and "lack sequences (t1 1)" in caplog.text

    def test_a_case_in_training_and_in_validation_is_told(self, datalist, tmp_path, caplog):
        self.check(datalist([datalist.case], [datalist.case | {"case": "b"}]), tmp_path, modalities=["flair"])
        assert "in validation" not in caplog.text
        self.check(datalist([datalist.case], [datalist.case]), tmp_path, modalities=["flair"])
        assert f"{tmp_path / 'datalist.json'}: a: in training and in validation" in caplog.text

    @pytest.mark.parametrize(("epochs", "lr_horizon"), [(0, None), (5, 4), (-1, 4)])
    def test_epochs_that_cannot_be(self, datalist, tmp_path, epochs, lr_horizon):
        with pytest.raises(UserError, match=f"^--epochs {epochs}: accepted are 1 to --lr_horizon"):
            self.check(datalist(), tmp_path, epochs=epochs, lr_horizon=lr_horizon)

    @pytest.mark.parametrize(
        ("name", "remedy"),
        [
            ("checkpoint.pt", "go on with --resume True, or name"),
            ("checkpoint_previous.pt", "go on with --resume True, or name"),
            ("model.pt", "remove it, or name"),
            ("model_last.pt", "remove it, or name"),
        ],
    )
    def test_a_used_output_folder(self, datalist, tmp_path, name, remedy):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).touch()
        with pytest.raises(UserError, match=f"already holds {name}; {remedy} another --output_dir"):
            self.check(datalist(), tmp_path)
        if name.startswith("checkpoint"):
            self.check(datalist(), tmp_path, resume=True)

    @pytest.mark.parametrize("resume", ["Tru", "true", "runs/x/checkpoint.pt", 1])
    def test_a_resume_that_is_no_boolean(self, datalist, tmp_path, resume):
        with pytest.raises(UserError, match=f"^--resume {resume}: accepted are True and False; --output_dir"):
            self.check(datalist(), tmp_path, resume=resume)

    def test_a_resume_without_checkpoint(self, datalist, tmp_path):
        with pytest.raises(UserError, match=r"--resume True: .*out holds no checkpoint.pt; look for a mistyped"):
            self.check(datalist(), tmp_path, resume=True)

    def test_a_resume_without_checkpoint_where_weights_are_left_names_them(self, datalist, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "model.pt").touch()
        with pytest.raises(UserError, match=r"holds no checkpoint.pt; .* --ckpt .*out/model.pt and another --output_d"):
            self.check(datalist(), tmp_path, resume=True)

    @pytest.mark.parametrize(
        ("overrides", "line"),
        [
            (
                {"modalities": ["flair", "dwi"]},
                "^--modalities flair, dwi: brats2020 has flair, .* not dwi; .*own_data",
            ),
            ({"modalities": "t1"}, r"""^--modalities t1: expected a list like "\['t1'\]"$"""),
            ({"resample_to": "t2"}, "^--resample_to t2: accepted: flair, t1$"),
            ({"register_to": "t2"}, "^--register_to t2: accepted: flair, t1$"),
            ({"register_to": "t1", "resample_to": "t1"}, "^--register-to t1 with --resample-to t1: .*leave"),
            (
                {"label_scheme": "brats2033"},
                r"^--label_scheme brats2033 \(did you mean brats20.*; the datalist names it, ",
            ),
            ({"spacing": [1]}, r"^--spacing \[1\]: expected 2"),
            ({"inferer": ModalityAwareInferer(roi_size=[16, 20])}, r"^--roi_size \[16, 20\]: expected 2"),
        ],
    )
    def test_what_the_data_set_or_the_network_has_not(self, datalist, tmp_path, overrides, line):
        with pytest.raises(UserError, match=line):
            self.check(datalist(), tmp_path, **overrides)

    def test_a_sequence_that_no_training_case_has(self, datalist, tmp_path):
        with pytest.raises(UserError, match="datalist.json: no case of part 'training' has t1; expected at least one"):
            self.check(datalist([datalist.case]), tmp_path)

    def test_an_unusable_validation_case(self, datalist, tmp_path):
        with pytest.raises(UserError, match="a has no label; validation needs one"):
            self.check(datalist(validation=[{"case": "a", "flair": "flair.nii.gz"}]), tmp_path)


class TestCases:
    def check(self, datalist, part="training"):
        check_cases(datalist=datalist, part=part, modalities=MODALITIES)

    def test_an_empty_part(self, datalist):
        with pytest.raises(UserError, match="the part 'test' has no cases; split the data again with --split"):
            self.check(datalist(), "test")

    def test_a_file_that_is_not_there(self, datalist):
        with pytest.raises(UserError, match=r"^case 'a': flair is listed as .*gone.nii.gz, which does not"):
            self.check(datalist([datalist.case | {"flair": "gone.nii.gz"}]))

    def test_a_missing_datalist(self, tmp_path):
        with pytest.raises(UserError, match="no such datalist; make one with"):
            checked_datalist(tmp_path / "datalist.json")


def test_scans_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        checked_scans(tmp_path / "nowhere", BRATS2020)
    with pytest.raises(UserError, match="no scans found"):
        checked_scans(tmp_path, BRATS2020)


class TestWindows:
    def check(self, *, spacing=(1.5, 2), roi_size=(16, 24)):
        network = RFNet(n_modalities=2, n_classes=2, spatial_dims=2, width=4)
        return check_windows(network=network, spacing=spacing, inferer=ModalityAwareInferer(roi_size=roi_size))

    def test_good_ones_pass(self):
        assert self.check() == (16, 24)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"spacing": [0, 1]}, r"--spacing \[0, 1\]: expected 2 millimetres above 0, one an axis"),
            ({"spacing": 1}, "--spacing 1: expected 2 millimetres"),
            ({"spacing": [1, 1, 1]}, "expected 2 millimetres"),
            ({"roi_size": [16]}, r"expected 2 whole .* divisible by 8 and at least 16, .* \"\[16,16\]\"$"),
            ({"roi_size": 16}, "--roi_size 16: expected 2 whole"),
            ({"roi_size": [16, 20]}, "expected 2 whole"),
            ({"roi_size": [16, 16.0]}, "expected 2 whole"),
            ({"roi_size": [8, 16]}, "expected 2 whole"),
        ],
    )
    def test_what_no_axis_or_network_takes(self, changed, message):
        with pytest.raises(UserError, match=message):
            self.check(**changed)


class TestDataSet:
    @pytest.fixture
    def files(self, tmp_path):
        """The JSON file of BraTS2020 by another path, and that of a data set of one's own."""
        content = json.loads((Path(datasets.__file__).parent / "brats2020.json").read_text())
        (tmp_path / "copy.json").write_text(json.dumps(content))
        (tmp_path / "own.json").write_text(json.dumps(content | {"name": "own"}))
        return tmp_path

    def test_the_configs_own_one_goes_through_under_any_name(self, files):
        assert checked_dataset("brats2020", only="brats2020") == BRATS2020
        assert checked_dataset(files / "copy.json", only="brats2020") == BRATS2020
        assert checked_dataset(files / "own.json").name == "own"

    @pytest.mark.parametrize("name", ["own.json", "myops2020"])
    def test_another_one_is_refused_with_what_to_write(self, files, command_line, name):
        command_line(files="['c/train.json','c/evaluate.json']")
        name = str(files / name) if name.endswith(".json") else name
        with pytest.raises(UserError) as refused:
            checked_dataset(name, only="brats2020")
        assert str(refused.value) == (
            f"--dataset_file {name}: these configs hold numbers of brats2020; write --config_file "
            f"\"['c/train.json','c/evaluate.json','c/own_data.json']\" --dataset_file {name}"
        )

    def test_without_a_command_line_the_overlay_is_named(self):
        assert with_own_data("my.json") == "add configs/own_data.json to the config files, and dataset_file my.json"

    def test_a_file_in_a_folder_with_a_space_is_quoted(self, command_line):
        command_line(files="c/train.json")
        assert with_own_data("my data/my.json").endswith(" --dataset_file 'my data/my.json'")
