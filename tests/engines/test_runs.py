import json
import logging
import math
import os
import sys
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from passion_components.data.errors import CaseError, UserError
from passion_components.data.layouts.scans import ScanFolder
from passion_components.data.outputs import IMAGE_MARK
from passion_components.data.training.dataset import CaseDataset
from passion_components.datasets import BRATS2020
from passion_components.engines import failures
from passion_components.engines.failures import error_line
from passion_components.engines.runs import evaluate, infer, train
from passion_components.engines.weights import WeightsError, load_weights
from passion_components.files import sha256_of
from passion_components.handlers.checkpoint import ResumeError
from passion_components.metrics import CaseScores
from passion_components.metrics.record import EvaluationRecord


def raised(error, *causes):
    """``error`` from its causes, as ``raise ... from`` chains them."""
    try:
        if causes:
            raise error from raised(*causes)
        raise error
    except Exception as caught:
        return caught


class TestErrorLine:
    @pytest.mark.parametrize("kind", [CaseError, ResumeError, WeightsError])
    def test_finds_the_message_below_monais_wrappers(self, kind):
        error = raised(RuntimeError("applying transform <...>"), RuntimeError("in Compose"), kind("a: is broken"))
        assert error_line(error) == "a: is broken"

    def test_finds_it_in_the_text_that_a_loader_process_sends(self):
        text = (
            "Caught RuntimeError in DataLoader worker process 0.\nTraceback ...\nerrors.CaseError: a: is broken\n\nmore"
        )
        assert error_line(RuntimeError(text)) == "a: is broken"

    def test_other_errors_have_none(self):
        assert error_line(raised(RuntimeError("x"), ValueError("a: is broken"))) is None

    def test_arguments_that_a_component_refuses_are_told_and_its_bugs_are_not(self):
        def failed(cause):
            wrapper = RuntimeError("Failed to instantiate component 'a.b.RFNet' with keywords: x")
            return error_line(raised(wrapper, cause))

        assert failed(ValueError("width must be positive,\n got 0")) == "RFNet: width must be positive, got 0"
        unknown = "RFNet.__init__() got an unexpected keyword argument 'widht'"
        assert failed(TypeError(unknown)) == f"RFNet: {unknown}"
        assert failed(TypeError("unsupported operand type(s)")) is None


class TestConsole:
    @pytest.fixture
    def bare(self, monkeypatch):
        """A root logger as at the start of a program, called with these words."""
        root = logging.getLogger()
        monkeypatch.setattr(root, "level", logging.WARNING)

        def call(*words):
            monkeypatch.setattr(root, "handlers", [])
            monkeypatch.setattr(sys, "argv", ["monai.bundle", *words])
            monkeypatch.setattr(failures, "on_command_line", lambda: True)
            monkeypatch.setattr(sys, "excepthook", sys.excepthook)
            failures.tell_in_one_line()
            return root

        return call

    def test_a_config_without_logging_conf_beside_it_prints_as_in_the_bundle(self, bare, capsys):
        bare()
        logging.getLogger("passion_components").info("4 of 4 cases done")
        assert capsys.readouterr().out.endswith(" INFO 4 of 4 cases done\n")

    def test_who_switches_logging_off_is_heard(self, bare):
        assert bare("--logging_file", "False").handlers == []


class TestTrain:
    def test_an_unreadable_case_ends_in_one_line_before_training(self, tmp_path):
        def unreadable(case):
            raise CaseError(f"{case['case']}: is broken")

        trainer = SimpleNamespace(run=lambda: pytest.fail("must not be reached"))
        with pytest.raises(UserError, match="^a: is broken$"):
            dataset = CaseDataset([{"case": "a"}], unreadable, cache_dir=tmp_path / "cache")
            train(trainer=trainer, dataset=dataset, validation=CaseDataset([], unreadable), output_dir=tmp_path / "out")
        assert not (tmp_path / "cache").exists()

    def test_a_bug_keeps_its_traceback(self, tmp_path):
        def run():
            raise ZeroDivisionError

        dataset = CaseDataset([], dict)
        with pytest.raises(ZeroDivisionError):
            train(trainer=SimpleNamespace(run=run), dataset=dataset, validation=dataset, output_dir=tmp_path)


@pytest.fixture
def network():
    return nn.Linear(2, 2)


@pytest.fixture
def weights(tmp_path):
    """Write the weights of a linear layer whose every number is ``value``."""

    def write(path, value=1.0, size=2):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {"weight": torch.full((size, size), value), "bias": torch.full((size,), value)}
        torch.save(state, path)
        return path

    return write


class TestInfer:
    @pytest.fixture
    def segment(self, network, weights, tmp_path):
        """Segment cases by name; those called ``bad...`` fail. Returns the names that were done."""

        def run(*names, refused=(), workers=0, meanwhile=lambda case: None):
            done = []

            def read(case):
                if case["case"].startswith("bad"):
                    raise CaseError(f"{case['case']}: is broken")
                (tmp_path / f"process-{os.getpid()}").touch()
                return case | {"image": torch.zeros(1)}

            evaluator = SimpleNamespace(
                state=SimpleNamespace(),
                run_case=lambda batch: meanwhile(*batch["case"]) or done.append(*batch["case"]),
                data_loader=SimpleNamespace(num_workers=workers),
            )
            infer(
                evaluator=evaluator,
                dataset=CaseDataset([{"case": name} for name in names], read),
                scans=ScanFolder(failures=list(refused)),
                network=network,
                ckpt=str(weights("w.pt")),
                output_dir=tmp_path / "out",
                bundle_root=tmp_path,
            )
            return done

        return run

    def test_what_fails_is_listed_and_the_rest_is_done(self, segment, tmp_path):
        with pytest.raises(UserError, match="^2 of 4 cases done, 2 failed"):
            segment("a", "bad", "c", refused=[("d", "d: no known sequence")])
        assert json.loads((tmp_path / "out" / "failures.json").read_text()) == [
            {"case": "d", "reason": "d: no known sequence"},
            {"case": "bad", "reason": "bad: is broken"},
        ]
        assert segment("a", "c") == ["a", "c"]
        assert not (tmp_path / "out" / "failures.json").exists()

    def test_the_next_case_is_read_while_one_is_segmented_and_no_further_one(self, segment, monkeypatch):
        started, further = {name: Event() for name in "abc"}, []
        read = CaseDataset.__getitem__

        def watched(dataset, index):
            started["abc"[index]].set()
            return read(dataset, index)

        def meanwhile(case):
            if case == "a" and started["b"].wait(10):
                further.append(started["c"].is_set())

        monkeypatch.setattr(CaseDataset, "__getitem__", watched)
        assert segment(*"abc", meanwhile=meanwhile) == ["a", "b", "c"]
        assert further == [False]

    def test_loader_processes_read_as_many_as_asked_for(self, segment, tmp_path):
        assert segment("a", "c", workers=1) == ["a", "c"]
        assert sorted(path.name for path in tmp_path.glob("process-*")) != [f"process-{os.getpid()}"]
        assert len(list(tmp_path.glob("process-*"))) == 1

    def test_an_old_mask_of_a_case_that_fails_goes_and_a_strangers_file_stays(self, segment, tmp_path):
        def at(case):
            path = tmp_path / "out" / case / f"{case}_seg.nii.gz"
            path.parent.mkdir(parents=True)
            return path

        for case in ("bad", "d"):
            at(case).write_bytes(IMAGE_MARK)
        truth = at("c")
        truth.write_bytes(b"truth")
        with pytest.raises(UserError, match="1 of 4 cases done, 3 failed"):
            assert segment("a", "bad", "c", refused=[("d", "d: no known sequence")]) == ["a"]
        assert truth.read_bytes() == b"truth"
        assert sorted(path.name for path in (tmp_path / "out").glob("*/*")) == ["c_seg.nii.gz"]
        reasons = [failure["reason"] for failure in json.loads((tmp_path / "out" / "failures.json").read_text())]
        assert f"{truth}: exists already and was not written by this program" in reasons[2]

    def test_an_unforeseen_error_is_one_cases_failure_too(self, segment, tmp_path, monkeypatch):
        monkeypatch.setattr(CaseDataset, "__getitem__", lambda self, index: 1 // index)
        with pytest.raises(UserError, match="0 of 2 cases done"):
            segment("a", "b")
        assert "a: ZeroDivisionError: " in (tmp_path / "out" / "failures.json").read_text()


class TestEvaluate:
    @pytest.fixture
    def record(self, tmp_path):
        return EvaluationRecord(output_dir=tmp_path / "out", spec=BRATS2020, settings={"policy": "nan"})

    @pytest.fixture
    def score(self, record, network, weights, tmp_path):
        """Score cases by name; "unreadable" cannot be read and "unfit" not be scored. Returns how often tabulated."""
        tables = []

        def run(*names):
            def read(case):
                if case["case"] == "unreadable":
                    raise CaseError("unreadable: is broken")
                return case | {"image": torch.zeros(1)}

            def run_case(batch):
                (case,) = batch["case"]
                if case == "unfit":
                    raise RuntimeError("sizes\ndiffer")
                record.add(case, {"t1": CaseScores({"WT": {"dice": 0.5}}, {})})

            evaluate(
                evaluator=SimpleNamespace(state=SimpleNamespace(), run_case=run_case, data_loader=[]),
                dataset=CaseDataset([{"case": name} for name in names], read),
                record=record,
                network=network,
                ckpt=str(weights("w.pt")),
                output_dir=tmp_path / "out",
                bundle_root=tmp_path,
                write_table=lambda: tables.append(1),
            )

        return run, tables

    def test_what_fails_is_listed_and_the_rest_is_scored(self, score, tmp_path):
        run, tables = score
        with pytest.raises(UserError, match="^2 of 4 cases done, 2 failed"):
            run("a", "unreadable", "unfit", "b")
        assert json.loads((tmp_path / "out" / "failures.json").read_text()) == [
            {"case": "unreadable", "reason": "unreadable: is broken"},
            {"case": "unfit", "reason": "unfit: RuntimeError: sizes differ"},
        ]
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["cases"] == 2 and tables == [1]
        run("a", "b")
        assert not (tmp_path / "out" / "failures.json").exists()

    def test_without_any_score_there_is_no_table(self, score, tmp_path):
        run, tables = score
        with pytest.raises(UserError, match="^0 of 1 cases done"):
            run("unfit")
        assert not (tmp_path / "out" / "summary.json").exists() and not tables

    def test_a_second_rank_leaves_everything_to_the_first(self, score, tmp_path, monkeypatch):
        monkeypatch.setenv("RANK", "1")
        score[0]("a", "unfit")
        assert not (tmp_path / "out").exists()


class TestWeights:
    def load(self, network, tmp_path, ckpt=""):
        return load_weights(network, ckpt=str(ckpt), output_dir=tmp_path / "out", bundle_root=tmp_path / "bundle")

    def test_are_searched_in_order(self, network, weights, tmp_path):
        weights("bundle/models/model.pt", 1.0)
        self.load(network, tmp_path)
        assert (network.weight == 1).all()
        weights("out/model.pt", 2.0)
        self.load(network, tmp_path)
        assert (network.weight == 2).all()
        info = self.load(network, tmp_path, weights("other.pt", 3.0))
        assert (network.weight == 3).all()
        assert info.path == str(tmp_path / "other.pt") and info.sha256 == sha256_of(tmp_path / "other.pt")

    def test_none_found_tells_where(self, network, tmp_path):
        with pytest.raises(WeightsError, match=r"looked for .*out/model.pt and .*bundle/models/model.pt; run training"):
            self.load(network, tmp_path)

    def test_a_named_file_is_never_replaced_by_another(self, network, weights, tmp_path):
        weights("out/model.pt")
        with pytest.raises(WeightsError, match="looked for .*gone.pt;"):
            self.load(network, tmp_path, tmp_path / "gone.pt")

    def test_another_network_and_no_weights_are_refused_in_one_line(self, network, weights, tmp_path):
        (tmp_path / "text.pt").write_text("no weights")
        fits_not = r"does not fit Linear as configured here: weight is \d x \d in the file and \d x \d in the network"
        for path, line in (
            (weights("large.pt", size=3), fits_not),
            (tmp_path / "text.pt", "text.pt is damaged, or no"),
        ):
            with pytest.raises(WeightsError, match=line) as refusal:
                self.load(network, tmp_path, path)
            assert "\n" not in str(refusal.value)

    def test_pickled_code_is_not_run(self, network, tmp_path):
        class Payload:
            def __reduce__(self):
                return (tmp_path.joinpath("ran").touch, ())

        torch.save(Payload(), tmp_path / "evil.pt")
        with pytest.raises(WeightsError):
            self.load(network, tmp_path, tmp_path / "evil.pt")
        assert not (tmp_path / "ran").exists()

    def test_the_file_beside_them_tells_of_them_and_of_no_other_file(self, network, weights, tmp_path):
        path = weights("w.pt")
        about = {
            "sha256": sha256_of(path),
            "epoch": 7,
            "trained_on": {"dataset": "d", "objective": "Eq2(x)", "missing_rates": {"t1": 0.25}, "seed": 3},
        }
        path.with_suffix(".json").write_text(json.dumps(about))
        told = self.load(network, tmp_path, path).trained_on
        assert "missing rates t1 0.25" in told and "Eq2, 7 epochs, seed 3" in told
        weights("w.pt", 5.0)
        with pytest.raises(
            WeightsError, match=r"w.pt: its SHA-256 is \w{16}\.\.\., w.json beside it says \w{16}\.\.\."
        ):
            self.load(network, tmp_path, path)
        path.with_suffix(".json").unlink()
        assert self.load(network, tmp_path, path).trained_on == "unknown"

    def test_both_formats_have_a_hash_in_the_same_file(self, network, tmp_path):
        save_file(network.state_dict(), tmp_path / "w.safetensors")
        about = {"sha256": "of w.pt", "sha256_safetensors": sha256_of(tmp_path / "w.safetensors")}
        (tmp_path / "w.json").write_text(json.dumps(about))
        self.load(network, tmp_path, tmp_path / "w.safetensors")
        (tmp_path / "w.json").write_text(json.dumps(about | {"sha256_safetensors": "00"}))
        with pytest.raises(WeightsError, match="w.json beside it says 00"):
            self.load(network, tmp_path, tmp_path / "w.safetensors")

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_is_not_finite_is_refused_by_name(self, network, weights, tmp_path, value):
        with pytest.raises(WeightsError, match="w.pt: weight holds values that are not finite"):
            self.load(network, tmp_path, weights("w.pt", value))

    def test_the_state_of_a_training_is_refused(self, network, tmp_path):
        torch.save({"epoch": 3, "network": network.state_dict()}, tmp_path / "checkpoint.pt")
        with pytest.raises(WeightsError, match="holds 'epoch', which is no tensor; expected weights alone: model.pt"):
            self.load(network, tmp_path, tmp_path / "checkpoint.pt")

    def test_evaluation_without_weights_ends_in_one_line(self, network, tmp_path):
        evaluator = SimpleNamespace(state=SimpleNamespace())
        with pytest.raises(UserError, match="^no weights"):
            evaluate(
                evaluator=evaluator,
                dataset=CaseDataset([], dict),
                record=EvaluationRecord(output_dir=tmp_path, spec=BRATS2020, settings={"policy": "brats"}),
                network=network,
                ckpt="",
                output_dir=tmp_path,
                bundle_root=tmp_path,
                write_table=dict,
            )
