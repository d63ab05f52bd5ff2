"""Training runs of the bundle: what they depend on, and that a resumed run is the same run."""

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

    def test_loader_workers_change_nothing(self, run, tmp_path, last_weights, equal):
        run("training", "train", output_dir=tmp_path / "here", epochs=1)
        run("training", "train", output_dir=tmp_path / "worker", epochs=1, num_workers=1)
        assert equal(last_weights(tmp_path / "here"), last_weights(tmp_path / "worker"))


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
            ({"lambda1": 0.25}, "objective was"),
            ({"lr_horizon": 9}, "--lr_horizon 9 differs from 2"),
            ({"epochs": 3}, "--epochs 3 goes beyond the learning rate's horizon of 2"),
        ],
    )
    def test_another_configuration_is_refused_in_one_line(self, run, refused, tmp_path, overrides, message):
        run("training", "train", output_dir=tmp_path / "out")
        with refused(message):
            run("training", "train", output_dir=tmp_path / "out", resume=True, **overrides)

    def test_without_a_checkpoint_it_starts_at_the_beginning(self, run, tmp_path, caplog, last_weights):
        with caplog.at_level("INFO"):
            run("training", "train", output_dir=tmp_path / "out", epochs=1, resume=True)
        assert "training starts at epoch 0" in caplog.text
        assert last_weights(tmp_path / "out")

    def test_old_checkpoints_are_not_trained_over(self, run, tmp_path, refused):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "model.pt").write_bytes(b"")
        with refused("already holds model.pt; go on with --resume True"):
            run("training", "train", output_dir=tmp_path / "out")

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
        for _ in range(20):
            process = subprocess.Popen(
                command("training", "train", resume=True, **settings),
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
        run("training", "train", resume=True, **settings)
        run("training", "train", **(settings | {"output_dir": tmp_path / "straight"}))
        assert killed > 10 and checkpoint(tmp_path / "killed")["epoch"] == 60
        assert equal(last_weights(tmp_path / "killed"), last_weights(tmp_path / "straight"))
