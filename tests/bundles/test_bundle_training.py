"""Training runs of the bundle: what they depend on, and that a resumed run is the same run."""

import builtins
import io
import json
import os
import random
import signal
import subprocess

import pytest
import torch


def checkpoint(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


class TestWhatTrainingSees:
    def test_masked_files_may_be_deleted(
        self, run, phantoms, own_phantoms, tmp_path, last_weights, equal, edit_datalist
    ):
        run("training", "train", output_dir=tmp_path / "with")
        listed = {
            str((own_phantoms / path).resolve())
            for cases in json.loads((own_phantoms / "missing.json").read_text()).values()
            if isinstance(cases, list)
            for case in cases
            for key, path in case.items()
            if key != "case"
        }
        deleted = [file for file in own_phantoms.glob("*/*.nii.gz") if str(file.resolve()) not in listed]
        assert deleted
        for file in deleted:
            file.unlink()
        files = {"dataset_dir": own_phantoms, "datalist": own_phantoms / "missing.json"}
        run("training", "train", output_dir=tmp_path / "without", **files)
        assert equal(last_weights(tmp_path / "with"), last_weights(tmp_path / "without"))

    def test_one_presence_bit_and_the_lambdas_matter(
        self, run, own_phantoms, tmp_path, last_weights, equal, edit_datalist
    ):
        files = {"dataset_dir": own_phantoms, "datalist": own_phantoms / "missing.json"}
        run("training", "train", output_dir=tmp_path / "a", epochs=1, **files)
        run("training", "train", output_dir=tmp_path / "c", epochs=1, lambda1=0.0, lambda2=0.0, **files)

        def drop_one(parts):
            case = next(case for case in parts["training"] if len(set(case) - {"case", "label", "t1"}) > 0)
            del case[next(key for key in case if key not in ("case", "label", "t1"))]

        edit_datalist(own_phantoms / "missing.json", drop_one)
        run("training", "train", output_dir=tmp_path / "b", epochs=1, **files)
        weights = {name: last_weights(tmp_path / name) for name in "abc"}
        assert not equal(weights["a"], weights["b"])
        assert not equal(weights["a"], weights["c"])

    def test_the_datalist_is_read_once(self, run, phantoms, tmp_path, monkeypatch):
        opened = []

        def opening(file, *arguments, opened_by=io.open, **settings):
            opened.append(str(file))
            return opened_by(file, *arguments, **settings)

        for module in (io, builtins):
            monkeypatch.setattr(module, "open", opening)
        run("training", "train", output_dir=tmp_path / "run", epochs=1, cache=False)
        assert opened.count(str(phantoms / "missing.json")) == 1 and (tmp_path / "run/model_last.pt").is_file()

    def test_loader_workers_change_nothing(self, run, tmp_path, last_weights, equal):
        run("training", "train", output_dir=tmp_path / "here", epochs=1)
        run("training", "train", output_dir=tmp_path / "worker", epochs=1, num_workers=1)
        assert equal(last_weights(tmp_path / "here"), last_weights(tmp_path / "worker"))


@pytest.fixture
def another_handler(tmp_path):
    """A config that adds a handler to those of the training, as the user's own overlay."""
    added = {"_target_": "CheckpointSaver", "save_dir": str(tmp_path / "added"), "epoch_level": True}
    added |= {"save_dict": {"network": "@network"}, "save_interval": 1}
    path = tmp_path / "added.json"
    path.write_text(json.dumps({"+train#handlers": [added]}))
    return str(path.with_suffix(""))


def test_a_handler_may_be_added_and_the_run_resumed_with_it(run, tmp_path, another_handler, equal):
    settings = {"lr_horizon": 2, "output_dir": tmp_path / "out"}
    run("training", "train", epochs=1, **settings)
    run("training", "train", another_handler, epochs=2, resume=True, **settings)
    run("training", "train", **(settings | {"output_dir": tmp_path / "straight"}))
    resumed, straight = checkpoint(tmp_path / "out"), checkpoint(tmp_path / "straight")
    assert (resumed["epoch"], set(resumed["objects"])) == (2, {"optimizer", "schedule", "preference", "history"})
    assert equal(resumed["network"], straight["network"])
    assert [path.name for path in (tmp_path / "added").iterdir()] == ["network_epoch=2.pt"]


@pytest.fixture
def averaged_teacher_runs(run, tmp_path):
    """Trains ``epochs`` epochs of two with the averaged teacher; gives the checkpoint."""

    def train(name, epochs, *, overlays=("averaged_teacher",), **settings):
        out = tmp_path / name
        run(
            "training", "train", *overlays, of="tcga_lgg_rfnet", lr_horizon=2, output_dir=out, epochs=epochs, **settings
        )
        return checkpoint(out)

    return train


class TestAveragedTeacher:
    def test_it_is_another_teacher_and_a_resumed_run_has_the_same_one(self, averaged_teacher_runs, equal):
        straight = averaged_teacher_runs("straight", 2)
        averaged_teacher_runs("resumed", 1)
        resumed = averaged_teacher_runs("resumed", 2, resume=True)
        assert equal(straight["network"], resumed["network"])
        assert equal(*(run["objects"]["averaged_teacher"] for run in (straight, resumed)))
        assert not equal(straight["network"], averaged_teacher_runs("plain", 2, overlays=())["network"])

    @pytest.mark.parametrize("first", [("averaged_teacher",), ()])
    def test_a_run_goes_on_with_the_teacher_that_it_began_with(self, averaged_teacher_runs, refused, first):
        averaged_teacher_runs("run", 1, overlays=first)
        with refused("was written by another run"):
            averaged_teacher_runs("run", 2, overlays=() if first else ("averaged_teacher",), resume=True)


class TestResumedRun:
    @pytest.mark.parametrize(("of", "workers"), [("brats2020_rfnet", 0), ("brats2020_rfnet", 1), ("tcga_lgg_rfnet", 1)])
    def test_two_epochs_and_two_more_equal_four(self, run, tmp_path, equal, of, workers):
        settings = {"of": of, "lr_horizon": 4, "num_workers": workers, "val_interval": 2}
        run("training", "train", output_dir=tmp_path / "straight", epochs=4, **settings)
        run("training", "train", output_dir=tmp_path / "resumed", epochs=2, **settings)
        run("training", "train", output_dir=tmp_path / "resumed", epochs=4, resume=True, **settings)
        straight, resumed = checkpoint(tmp_path / "straight"), checkpoint(tmp_path / "resumed")
        assert straight["epoch"] == resumed["epoch"] == 4
        assert equal(straight["network"], resumed["network"])
        assert straight["best"] == resumed["best"]
        assert straight["objects"]["preference"] == resumed["objects"]["preference"]
        moments = [state["objects"]["optimizer"]["state"] for state in (straight, resumed)]
        for index, moment in moments[0].items():
            assert equal(moment, moments[1][index])
        for name in ("model.pt", "model_last.pt"):
            assert equal(*(torch.load(tmp_path / run / name, weights_only=True) for run in ("straight", "resumed")))
        preference = [(tmp_path / run / "preference.csv").read_text() for run in ("straight", "resumed")]
        assert preference[0] == preference[1]
        assert preference[0].count("\n") == 1 + 4 * len(straight["objects"]["preference"]["preference"]["beta"])

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ({"seed": 1}, "seed was 0, now 1"),
            ({"lambda1": 0.25}, "objective.lambda1 was 0.5, now 0.25"),
            ({"weight_decay": 0.5}, "optimizer.weight_decay was 0.0001, now 0.5"),
            ({"optimizer#_target_": "torch.optim.Adam"}, "optimizer.class was 'AdamW', now 'Adam'"),
            ({"spacing": [2.0, 1.0, 1.0]}, "input.spacing.0 was 1.0, now 2.0"),
            ({"samples#random_size": True}, "augmentation.transforms.0.cropper.random_size was False, now True"),
            ({"presence_sampling#prob": 0.5}, "augmentation.transforms.5.prob was 0.0, now 0.5"),
            ({"validation_subsets": ["t1"]}, r"validation_subsets was None, now \['t1'\]"),
            ({"lr_horizon": 9}, "--lr_horizon 9 differs from 2"),
            ({"epochs": 3}, "--epochs 3 goes beyond the learning rate's horizon of 2"),
        ],
    )
    def test_another_configuration_is_refused_in_one_line(self, run, refused, tmp_path, overrides, message):
        run("training", "train", output_dir=tmp_path / "out")
        with refused(message):
            run("training", "train", output_dir=tmp_path / "out", resume=True, **overrides)

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ({"resume": True}, "holds no checkpoint.pt; look for a mistyped"),
            ({"resume": "Tru"}, "--resume Tru: accepted"),
        ],
    )
    def test_a_mistyped_resume_does_not_start_afresh(self, run, refused, tmp_path, overrides, message):
        with refused(message):
            run("training", "train", output_dir=tmp_path / "out", **overrides)
        assert not (tmp_path / "out" / "model.pt").exists()

    def test_old_weights_are_not_trained_over(self, run, tmp_path, refused):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "model.pt").write_bytes(b"")
        with refused("already holds model.pt; remove it, or name another"):
            run("training", "train", output_dir=tmp_path / "out")

    def test_epochs_count_whatever_the_batch_and_the_change_is_kept(self, run, tmp_path, caplog):
        settings = {"lr_horizon": 4, "val_interval": 9, "output_dir": tmp_path / "out"}
        run("training", "train", epochs=1, **settings)
        with caplog.at_level("WARNING"):
            run("training", "train", epochs=3, batch_size=2, learning_rate=0.002, resume=True, **settings)
        assert (
            "settings change after epoch 1: batch_size was 1, now 2, learning_rate was 0.003, now 0.002" in caplog.text
        )
        state = checkpoint(tmp_path / "out")
        assert state["epoch"] == 3
        change = {"after_epoch": 1, "batch_size": [1, 2], "learning_rate": [0.003, 0.002]}
        assert state["run"]["changes"] == [change] and state["run"]["batch_size"] == 2
        steps = [float(moment["step"]) for moment in state["objects"]["optimizer"]["state"].values()]
        assert set(steps) == {4 + 2 + 2}
        kept = json.loads((tmp_path / "out" / "model.json").read_text())["trained_on"]
        assert kept["changes"] == [change] and kept["learning_rate"] == 0.002
        last = (tmp_path / "out" / "model_last.pt").read_bytes()
        with caplog.at_level("WARNING"):
            run("training", "train", epochs=2, batch_size=2, learning_rate=0.002, resume=True, **settings)
        assert "nothing to train: " in caplog.text and "has 3 epochs already and --epochs is 2" in caplog.text
        assert (tmp_path / "out" / "model_last.pt").read_bytes() == last

    def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
        self, run, command, bundle, tmp_path, last_weights, equal
    ):
        settings = {"epochs": 6, "val_interval": 10, "output_dir": tmp_path / "killed"}
        process = subprocess.Popen(
            command("training", "train", **settings), cwd=bundle, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (tmp_path / "killed" / "checkpoint.pt").exists():
            assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(random.Random(0).uniform(0, 0.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert checkpoint(tmp_path / "killed")["epoch"] < 6
        run("training", "train", resume=True, **settings)
        run("training", "train", **(settings | {"output_dir": tmp_path / "straight"}))
        assert equal(last_weights(tmp_path / "killed"), last_weights(tmp_path / "straight"))

    @pytest.mark.full
    @pytest.mark.timeout(1800)
    def test_twenty_kills_change_nothing(self, run, command, bundle, tmp_path, last_weights, equal):
        settings = {"epochs": 60, "val_interval": 20, "output_dir": tmp_path / "killed"}
        moments, killed = random.Random(0), 0

        def has_checkpoint() -> bool:
            return any((tmp_path / "killed").glob("checkpoint*.pt"))

        for _ in range(20):
            process = subprocess.Popen(
                command("training", "train", resume=has_checkpoint(), **settings),
                cwd=bundle,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert process.wait(moments.uniform(3, 9)) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
        run("training", "train", resume=has_checkpoint(), **settings)
        run("training", "train", **(settings | {"output_dir": tmp_path / "straight"}))
        assert killed > 10 and checkpoint(tmp_path / "killed")["epoch"] == 60
        assert equal(last_weights(tmp_path / "killed"), last_weights(tmp_path / "straight"))
