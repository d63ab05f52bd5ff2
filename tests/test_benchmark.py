import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import benchmark
from benchmarks.operations import count_operations
from benchmarks.steps import Shape, Training, mixed


@pytest.mark.parametrize("objective", ["baseline", "passion"])
def test_the_published_arrangement_does_the_same_work(objective):
    """Otherwise the ratio that the benchmark tells compares different losses."""
    presence = torch.tensor([[True, False, True], [False, True, False]])
    shape = Shape(edge=32, dims=2, modalities=3, classes=2, batch=2)
    losses = []
    for naive in (False, True):
        training = Training("rfnet", objective, shape, torch.device("cpu"), naive=naive, amp=False)
        training.network.double()
        training.image = training.image.double()
        losses.append(training.loss(presence))
    torch.testing.assert_close(*losses, rtol=0, atol=1e-10)


def test_a_mix_weighs_every_number_present_by_how_often_it_occurs():
    assert mixed({1: 1.0, 2: 2.0}, rates=(0.5, 0.5)) == pytest.approx((1 + 1 + 2) / 3)
    assert mixed({1: 1.0}, rates=(0.5, 0.5)) is None


def test_two_samples_take_twice_the_operations_of_one():
    shapes = [Shape(edge=32, dims=2, modalities=3, classes=2, batch=batch) for batch in (1, 2)]
    one, two = (count_operations("rfnet", "released", shape, counts=[2])[0]["tera_operations"] for shape in shapes)
    assert two == pytest.approx(2 * one) and one > 0


def test_a_quick_look_is_at_two_objectives_or_at_those_asked_for():
    assert benchmark.arguments(["--quick"]).objectives == ["baseline", "passion"]
    assert benchmark.arguments(["--quick", "--objectives", "pmr"]).objectives == ["pmr"]
    assert benchmark.arguments([]).objectives == ["baseline", "passion", "pmr", "released"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--repeats", "0"], 2, "argument --repeats: expected 1 or more, got '0'"),
        (["--device", "gpu"], 2, "argument --device: 'gpu' cannot be used here: Expected one of cpu, cuda"),
        (["--json", "taken/all.json"], 1, "error: taken: is a file; name a folder for the output"),
        (["--json", "."], 1, "error: .: is a folder; name a file with --json"),
        (["--edge", "7", "--quick"], 1, "error: RFNet takes sizes divisible by 8 and at least 16, got (7, 7, 7)"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(words, code, said, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "operations", "--backbones", "rfnet", *words])
    if code == 1:
        assert benchmark.main() == 1
    else:
        with pytest.raises(SystemExit, match="2"):
            benchmark.main()
    assert said in capsys.readouterr().err.splitlines()[-1]
