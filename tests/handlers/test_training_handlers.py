"""Handlers around a stand-in for the trainer: what they compute, write and restore."""

import csv
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from passion_components.data.training.dataset import CaseDataset
from passion_components.engines.weights_input import read_about
from passion_components.files import sha256_of
from passion_components.handlers.checkpoint import NonFiniteWeightsError, ResumeError, TrainingCheckpointHandler
from passion_components.handlers.history import LossHistoryHandler
from passion_components.handlers.preference import PreferenceAwareHandler
from passion_components.handlers.schedule import PolyScheduleHandler
from passion_components.handlers.seeding import EpochSeedHandler
from passion_components.objectives.base import Objective
from passion_components.preference import RelativePreference


def engine_of(step) -> Engine:
    """An engine that calls ``step(engine, batch)`` and has a device and a learning rate, as a trainer has."""
    engine = Engine(step)
    engine.state.device = torch.device("cpu")
    engine.state.metrics["lr"] = 0.5
    return engine


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class TestPolySchedule:
    def rates(self, epochs, lr=2.0, **arguments) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        seen = []
        engine = engine_of(lambda engine, batch: seen.append(optimizer.param_groups[0]["lr"]))
        PolyScheduleHandler(optimizer, epochs=epochs, **arguments).attach(engine)
        engine.run([0], max_epochs=epochs)
        assert engine.state.metrics["lr"] == seen[-1]
        return seen

    def test_values(self):
        assert self.rates(4) == pytest.approx([2.0, 2 * 0.75**0.9, 2 * 0.5**0.9, 2 * 0.25**0.9])

    @pytest.mark.parametrize("epochs", [300, 1000])
    def test_rounded_rates_are_those_of_the_released_code(self, epochs):
        with np.load(Path(__file__).parents[1] / "data" / "schedule_published.npz") as arrays:
            expected = arrays[f"lr/poly_{epochs}"]
        np.testing.assert_allclose(
            self.rates(epochs, lr=2e-4, decimals=8), expected, rtol=0, atol=2e-11
        )  # stored as float32

    def test_a_longer_horizon_begins_alike(self):
        assert self.rates(2, horizon=4) == self.rates(4)[:2]

    def handler(self, **arguments) -> PolyScheduleHandler:
        return PolyScheduleHandler(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), **arguments)

    def test_epochs_beyond_the_horizon_are_refused(self):
        with pytest.raises(ResumeError, match="--epochs 5 goes beyond the learning rate's horizon of 4 epochs"):
            self.handler(epochs=5, horizon=4)

    def test_a_resumed_run_keeps_its_horizon_unless_another_is_given(self):
        resumed = self.handler(epochs=6)
        resumed.load_state_dict(self.handler(epochs=3, horizon=8).state_dict())
        assert resumed.horizon == 8
        with pytest.raises(ResumeError, match="--lr_horizon 9 differs from 8"):
            self.handler(epochs=6, horizon=9).load_state_dict({"horizon": 8})
        with pytest.raises(ResumeError, match="--epochs 6 goes beyond"):
            self.handler(epochs=6).load_state_dict({"horizon": 4})


class Switched(Objective):
    moves = True

    @property
    def updates_preference(self) -> bool:
        return self.moves

    def forward(self, output, target, presence):
        return {}


class TestPreference:
    """Batches of (distance, sample, modality) of two modalities."""

    batches = (
        ([1.0, 3.0], [0, 0], [0, 1]),  # RP .5 and -.5
        ([4.0, 1.0, 1.0], [0, 1, 1], [0, 0, 1]),  # a single modality: 0; equal ones: 0
    )

    @pytest.fixture
    def run(self, tmp_path):
        def make(moves=True, epochs=1, state=None):
            preference = RelativePreference(modalities=("x", "y"), missing_rates={"x": 0.0, "y": 0.5}, gamma=0.1)
            objective = Switched()
            objective.moves = moves

            def step(engine, batch):
                distance, sample, modality = batch
                engine.state.losses = {"distance": torch.tensor(distance)}
                engine.state.paths = SimpleNamespace(
                    sample_index=torch.tensor(sample),
                    modality_index=torch.tensor(modality),
                    fused=SimpleNamespace(logits=torch.zeros(max(sample) + 1)),
                )

            engine = engine_of(step)
            handler = PreferenceAwareHandler(preference=preference, objective=objective, output_dir=tmp_path)
            if state is not None:
                handler.load_state_dict(state)
            handler.attach(engine)
            engine.run(self.batches, max_epochs=epochs)
            return handler, objective, engine

        return make

    def test_beta_moves_by_the_mean_over_the_samples_that_had_the_modality(self, run, tmp_path):
        handler, objective, engine = run()
        assert handler.preference.beta.tolist() == pytest.approx([1 - 0.1 * 0.5 / 3, 2 + 0.1 * 0.5 / 2])
        assert objective.epoch == 1
        assert engine.state.metrics["rp/x"] == pytest.approx(0.5 / 3)
        assert engine.state.metrics["beta/y"] == pytest.approx(2.025)
        written = rows(tmp_path / "preference.csv")
        assert [(row["epoch"], row["modality"], row["samples"]) for row in written] == [
            ("1", "x", "3"),
            ("1", "y", "2"),
        ]
        assert [float(row["rp"]) for row in written] == pytest.approx([0.5 / 3, -0.25])
        assert [float(row["beta"]) for row in written] == pytest.approx(handler.preference.beta.tolist())

    def test_an_objective_without_preference_leaves_beta_and_logs_all_the_same(self, run, tmp_path):
        handler, _, _ = run(moves=False)
        assert handler.preference.beta.tolist() == [1, 2]
        assert [float(row["rp"]) for row in rows(tmp_path / "preference.csv")] == pytest.approx([0.5 / 3, -0.25])

    def test_every_epoch_starts_anew(self, run):
        one, two = run(epochs=1)[0], run(epochs=2)[0]
        moved = [handler.preference.beta - torch.tensor([1.0, 2.0]) for handler in (one, two)]
        torch.testing.assert_close(moved[1], 2 * moved[0])

    def test_state_is_plain_and_continues(self, run, tmp_path):
        first = run()[0]
        torch.save(first.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        continued = run(state=state)[0]
        torch.testing.assert_close(continued.preference.beta, run(epochs=2)[0].preference.beta)
        assert len(continued.table.rows) == 4


class TestLossHistory:
    def test_means_of_the_epoch(self, tmp_path):
        losses = [
            {"loss": torch.tensor(v), "pixel": torch.tensor(2 * v), "distance": torch.ones(3)} for v in (1.0, 4.0)
        ]
        engine = engine_of(lambda engine, batch: setattr(engine.state, "losses", losses[batch]))
        handler = LossHistoryHandler(output_dir=tmp_path)
        handler.attach(engine)
        engine.run([0, 1], max_epochs=2)
        assert engine.state.metrics["loss"] == 2.5 and engine.state.metrics["loss/pixel"] == 5
        written = {(row["epoch"], row["name"]): float(row["value"]) for row in rows(tmp_path / "history.csv")}
        about_time = {"seconds", "seconds_per_step", "seconds_waiting_for_data", "peak_memory_mb"}
        assert {name for _, name in written} == {"loss", "pixel", "lr"} | about_time
        for epoch in "12":
            assert 0 <= written[epoch, "seconds_waiting_for_data"] <= written[epoch, "seconds"]
            assert written[epoch, "seconds_per_step"] == pytest.approx(written[epoch, "seconds"] / 2)
            assert written[epoch, "peak_memory_mb"] > 50
            assert written[epoch, "loss"] == 2.5 and written[epoch, "pixel"] == 5 and written[epoch, "lr"] == 0.5
        restored = LossHistoryHandler(output_dir=tmp_path)
        restored.load_state_dict(handler.state_dict())
        assert restored.table.rows == handler.table.rows

    def test_the_validated_epochs_have_their_dice(self, tmp_path):
        scores = {2: 0.75, 3: None}
        validator = engine_of(lambda engine, batch: None)

        @validator.on(Events.EPOCH_COMPLETED)
        def score():
            validator.state.metrics["mean_dice"] = scores[validator.state.epoch]

        engine = engine_of(lambda engine, batch: setattr(engine.state, "losses", {"loss": torch.tensor(1.0)}))
        LossHistoryHandler(output_dir=tmp_path, validator=validator).attach(engine)

        @engine.on(Events.EPOCH_COMPLETED)
        def validate():
            if engine.state.epoch in scores:
                validator.state.epoch, validator.state.max_epochs = engine.state.epoch - 1, engine.state.epoch
                validator.state.iteration = engine.state.epoch - 1
                validator.run([0], epoch_length=1)

        engine.run([0], max_epochs=3)
        written = [row for row in rows(tmp_path / "history.csv") if row["name"] == "mean_dice_validation"]
        assert written == [{"epoch": "2", "name": "mean_dice_validation", "value": "0.75"}]


class TestCheckpoint:
    @pytest.fixture
    def train(self, tmp_path):
        """Train one number; epoch e adds 1 to it and validates with the e-th score, None for no validation."""

        def run(scores, *, resume=False, seed=0, start=0.0, batches=1, **settings):
            network = torch.nn.Linear(1, 1, bias=False)
            torch.nn.init.constant_(network.weight, start)
            validator = SimpleNamespace(state=SimpleNamespace(epoch=0, metrics={}))

            def step(engine, batch):
                with torch.no_grad():
                    network.weight += 1

            engine = engine_of(step)

            @engine.on(Events.EPOCH_COMPLETED)
            def validate():
                score = scores[engine.state.epoch - 1]
                if score is not None:
                    validator.state.epoch = engine.state.epoch
                    validator.state.metrics["mean_dice"] = score

            handler = TrainingCheckpointHandler(
                output_dir=tmp_path,
                network=network,
                objects={},
                run={"seed": seed, "rates": {"t1": 0.5}} | settings,
                resume=resume,
                validator=validator,
            )
            handler.attach(engine)
            engine.run([0] * batches, max_epochs=len(scores))
            return engine, network

        return run

    def saved(self, tmp_path, name) -> float:
        return float(torch.load(tmp_path / f"{name}.pt", weights_only=True)["weight"])

    @pytest.mark.parametrize(
        ("scores", "best"),
        [
            ([0.2, 0.6, 0.4], 2),
            ([0.5, 0.5], 1),
            ([None, None, None], 3),
            ([None, 0.1, None, 0.05], 2),
            ([0.0, None], 1),
        ],
    )
    def test_model_is_the_best_validated_epoch_or_the_last_where_there_is_none(self, train, tmp_path, scores, best):
        train(scores)
        assert self.saved(tmp_path, "model") == best
        assert self.saved(tmp_path, "model_last") == len(scores)
        for name, epoch in (("model", best), ("model_last", len(scores))):
            about = json.loads((tmp_path / f"{name}.json").read_text())
            assert about["sha256"] == sha256_of(tmp_path / f"{name}.pt")
            assert about["epoch"] == epoch and about["trained_on"]["rates"] == {"t1": 0.5}

    def test_a_resumed_run_goes_on_and_remembers_the_best(self, train, tmp_path):
        train([0.9, 0.3])
        engine, network = train([None, None, 0.5], resume=True)
        assert engine.state.epoch == engine.state.iteration == 3
        assert float(network.weight) == 3
        assert self.saved(tmp_path, "model") == 1

    def test_another_run_is_refused_in_one_line(self, train):
        train([None])
        with pytest.raises(
            ResumeError, match="was written by another run: seed was 0, now 1; give the same"
        ) as refusal:
            train([None, None], resume=True, seed=1)
        assert "\n" not in str(refusal.value)

    def test_without_resume_nothing_is_loaded(self, train, tmp_path):
        train([None])
        train([None], start=10.0)
        assert self.saved(tmp_path, "model_last") == 11

    def test_equal_weights_are_equal_bytes(self, train, tmp_path, monkeypatch):
        train([None])
        first = (tmp_path / "model.pt").read_bytes()
        monkeypatch.setattr("os.getpid", lambda: 123456)
        train([None])
        assert (tmp_path / "model.pt").read_bytes() == first

    def test_no_half_written_file_is_left(self, train, tmp_path):
        train([0.1])
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"checkpoint.pt", "model.pt", "model.json", "model_last.pt", "model_last.json"}

    @pytest.mark.parametrize("at", ["model.pt", "model.json"])
    def test_a_kill_between_weights_and_what_is_said_of_them_leaves_a_pair(self, train, tmp_path, monkeypatch, at):
        train([0.1])
        told, replace = [], os.replace

        def killed(source, target):
            told.extend([at] if Path(target).name == at else [])
            if len(told) == (2 if at == "model.json" else 1):
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            train([None, 0.2], resume=True)
        monkeypatch.undo()
        epoch = 2 if at == "model.json" else 1
        about = read_about(tmp_path / "model.pt")
        assert about["sha256"] == sha256_of(tmp_path / "model.pt") and about["epoch"] == epoch
        assert self.saved(tmp_path, "model") == epoch
        train([None, 0.2], resume=True)
        assert "before" not in (tmp_path / "model.json").read_text() and self.saved(tmp_path, "model") == 2

    def test_epochs_count_whatever_their_number_of_steps(self, train):
        train([None, None], batches=4)
        engine, network = train([None] * 6, batches=2, resume=True)
        assert engine.state.epoch == 6 and float(network.weight) == 2 * 4 + 4 * 2
        engine, network = train([None] * 8, batches=5, resume=True)
        assert engine.state.epoch == 8 and float(network.weight) == 16 + 2 * 5

    def test_a_change_on_purpose_is_kept_and_others_are_refused_by_name(self, train, tmp_path):
        train([None], batch_size=1, input={"spacing": [1.0]})
        train([None] * 2, batch_size=2, input={"spacing": [1.0]}, resume=True)
        train([None] * 3, batch_size=4, input={"spacing": [1.0]}, resume=True)
        kept = json.loads((tmp_path / "model_last.json").read_text())["trained_on"]
        assert kept["batch_size"] == 4
        assert kept["changes"] == [
            {"after_epoch": 1, "batch_size": [1, 2]},
            {"after_epoch": 2, "batch_size": [2, 4]},
        ]
        with pytest.raises(ResumeError, match=r"another run: input.spacing.0 was 1.0, now 2.0; give the same"):
            train([None] * 4, batch_size=4, input={"spacing": [2.0]}, resume=True)

    def test_what_an_earlier_version_did_not_tell_is_said(self, train, tmp_path, caplog):
        train([None])
        engine, _ = train([None] * 2, resume=True, optimizer={"weight_decay": 0.5})
        assert engine.state.epoch == 2 and "is of an earlier version and does not tell all of optimizer;" in caplog.text
        with pytest.raises(ResumeError, match=r"optimizer.weight_decay was 0.5, now 0.25"):
            train([None] * 3, resume=True, optimizer={"weight_decay": 0.25})

    @pytest.mark.parametrize("damage", ["cut", "flipped", "html"])
    def test_a_damaged_checkpoint_falls_back_to_the_one_before(self, train, tmp_path, caplog, damage):
        train([0.5, 0.25])
        path = tmp_path / "checkpoint.pt"
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[content.index(b"archive/data.pkl") + 100] ^= 1
        path.write_bytes({"cut": content[:-100], "flipped": content, "html": b"<html>"}[damage])
        engine, network = train([0.5, 0.25, 0.125], resume=True)
        assert float(network.weight) == 3
        assert f"{path} is damaged" in caplog.text
        assert "checkpoint_previous.pt instead, after epoch 1" in caplog.text
        assert self.saved(tmp_path, "model") == 1

    def test_where_both_are_damaged_one_line_says_so(self, train, tmp_path):
        train([None, None])
        for name in ("checkpoint.pt", "checkpoint_previous.pt"):
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(
            ResumeError, match="checkpoint.pt and checkpoint_previous.pt: damaged, nothing to go on from"
        ):
            train([None, None, None], resume=True)

    def test_where_there_is_none_one_line_says_so(self, train):
        with pytest.raises(ResumeError, match="holds no checkpoint.pt to go on from"):
            train([None], resume=True)

    def test_weights_that_are_no_numbers_are_not_written_over_good_ones(self, train, tmp_path):
        train([None])
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(NonFiniteWeightsError, match="weights are not finite after epoch 1: weight;"):
            train([None], start=math.nan)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class TestEpochSeed:
    def draws(self, seed, epochs, start=0) -> list[tuple[int, float]]:
        dataset = CaseDataset([{}], lambda case: case)
        seen = []
        engine = engine_of(lambda engine, batch: seen.append((dataset.epoch, float(torch.rand(())))))
        EpochSeedHandler(seed=seed, dataset=dataset).attach(engine)
        engine.run([0], max_epochs=start + 1)
        torch.rand(7)
        engine.run([0], max_epochs=epochs)
        return seen

    def test_an_epoch_is_a_function_of_seed_and_number(self):
        once, interrupted = self.draws(3, epochs=4), self.draws(3, epochs=4, start=2)
        assert once == interrupted
        assert [epoch for epoch, _ in once] == [1, 2, 3, 4]
        assert len({value for _, value in once}) == 4
        assert not {value for _, value in once} & {value for _, value in self.draws(4, epochs=4)}
        assert all(math.isfinite(value) for _, value in once)
