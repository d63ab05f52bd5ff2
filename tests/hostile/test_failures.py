"""Full disks, small shared memory, damaged lists, Ctrl-C: one line each, and a bug keeps its traceback."""

import errno
import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data.utils import dev_collate
from monai.handlers import StatsHandler

from passion_components.data.errors import CaseError, UserError
from passion_components.data.lists.datalist import Datalist
from passion_components.data.reading.volumes import read_volume
from passion_components.data.training.dataset import CaseDataset
from passion_components.engines import failures
from passion_components.engines.failures import error_line, in_words, on_command_line, tell_in_one_line, try_folder
from passion_components.engines.trainer import MultiPathTrainer
from passion_components.inferers.modality_aware import ModalityAwareInferer

BUS = (
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit."
)


def worker_text(message):
    return f"Caught CaseError in DataLoader worker process 0.\nTraceback:\n  File\nx.errors.CaseError: {message}\n"


class TestLine:
    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (CaseError(worker_text("a: is broken")), "^a: is broken$"),
            (
                RuntimeError(worker_text("a: is broken") + "\nThe above\nRuntimeError: x"),
                "^a: is broken$",
            ),
            (RuntimeError(BUS), r"too little shared memory .*--shm-size 4g.* --num_workers 0$"),
            (RuntimeError("unable to open shared memory object </torch_1_2> in read-write mode"), "--num_workers 0$"),
            (RuntimeError("unable to write to file </torch_1_2>: No space left on device (28)"), "--num_workers 0$"),
            (RuntimeError("DataLoader worker (pid(s) 3) exited unexpectedly"), "fewer --num_workers$"),
            (RuntimeError("Invalid device string: 'gpu'"), "--device takes cpu, cuda or cuda:1"),
            (AssertionError("Torch not compiled with CUDA enabled"), "--device takes cpu, cuda or cuda:1"),
            (
                OSError(errno.ENOSPC, "x", "out/model.pt"),
                "^out/model.pt: no space left on device; .*another output folder$",
            ),
            (OSError(errno.EROFS, "x", "out"), "^out: read-only file system; .*another output folder$"),
            (PermissionError(errno.EACCES, "x", "out"), "^out: permission denied; .*another output folder$"),
            (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0"), "Tried to allocate 2.00"),
            (
                RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes."),
                "8.0",
            ),
            (MemoryError(), "^memory does not suffice; "),
        ],
    )
    def test_of_a_known_cause(self, error, line):
        wrapped = RuntimeError("Failed to instantiate component")
        wrapped.__cause__ = error
        found = error_line(wrapped)
        assert "\n" not in found
        assert re.search(line, found)

    def test_torch_save_hides_a_full_disk_behind_an_error_of_its_own(self):
        error = RuntimeError("[enforce fail at inline_container.cc:626] unexpected pos 64 vs 0")
        error.__context__ = OSError(errno.ENOSPC, "x")
        assert error_line(error).startswith("no space left on device; what was complete is kept")

    @pytest.mark.parametrize(
        ("component", "line"),
        [("torch.optim.AdamW", "AdamW: Invalid learning rate: -1"), ("passion_components.engines.runs.train", None)],
    )
    def test_a_value_that_a_class_refuses_is_told_and_one_that_fails_in_a_run_is_a_bug(self, component, line):
        error = RuntimeError(f"Failed to instantiate component '{component}' with keywords: lr\n set '_mode_=debug'")
        error.__cause__ = ValueError("Invalid learning\nrate: -1")
        assert error_line(error) == line

    @pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("shared memory"), FileNotFoundError(2, "x", "y")])
    def test_a_bug_has_none(self, error):
        assert error_line(error) is None


class TestInWords:
    def test_the_engines_say_nothing_beside_it(self, capsys):
        def fail(batch):
            raise CaseError("a: is broken")

        trainer = MultiPathTrainer(
            device="cpu",
            max_epochs=1,
            train_data_loader=[{}],
            network=torch.nn.Linear(1, 1),
            optimizer=torch.optim.SGD([torch.zeros(1)], lr=1),
            objective=torch.nn.Identity(),
            iteration_update=lambda engine, batch: fail(batch),
            train_handlers=[StatsHandler(name="hostile", iteration_log=False)],
        )
        with pytest.raises(UserError, match="^a: is broken$"):
            in_words(trainer.run, interrupted="x")
        logging.getLogger("hostile").warning("MONAI's loggers write to the console themselves")
        written = "".join(capsys.readouterr())
        assert "to the console themselves" in written and "broken" not in written

    def test_nor_does_the_collation_of_a_loader_process(self, capsys):
        def run():
            dev_collate([{"image": torch.zeros(1)}] * 2)
            print("done")

        outlet = logging.StreamHandler(sys.stdout)
        logging.getLogger().addHandler(outlet)
        try:
            in_words(run, interrupted="x")
        finally:
            logging.getLogger().removeHandler(outlet)
        assert capsys.readouterr().out == "done\n"

    def test_ctrl_c_is_one_line_that_says_how_to_go_on(self, capsys):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs this behind
        try:
            with pytest.raises(KeyboardInterrupt) as stop:
                in_words(lambda: signal.raise_signal(signal.SIGINT), interrupted="go on with --resume True")
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        finally:
            signal.signal(signal.SIGINT, before)
        failures._tell(KeyboardInterrupt, stop.value, None)
        assert capsys.readouterr().err == "interrupted; go on with --resume True\n"


class TestConsole:
    @pytest.fixture
    def console(self, monkeypatch, capsys):
        """What the command line shows of an exception."""
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="monai.bundle.__main__"))
        monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
        tell_in_one_line()

        def show(error):
            sys.excepthook(type(error), error, None)
            return capsys.readouterr().err

        return show

    def test_one_line_where_the_cause_is_known(self, console):
        assert console(UserError("a: is broken")) == "error: a: is broken\n"

    def test_a_bug_keeps_its_own_words(self, console):
        assert console(ZeroDivisionError("x")) == "ZeroDivisionError: x\n"

    def test_other_programs_keep_their_console(self):
        before = sys.excepthook
        tell_in_one_line()
        assert not on_command_line() and sys.excepthook is before


class TestFolder:
    def test_a_file_in_its_place(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(UserError, match="out: is a file; name a folder for the output"):
            try_folder(tmp_path / "out")

    def test_a_file_above_it(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(UserError, match="/out: is a file; name a folder for the output"):
            try_folder(tmp_path / "out" / "below")

    def test_no_right_to_write(self, tmp_path, monkeypatch):
        def read_only(*_, **__):
            raise OSError(errno.EROFS, "x")

        monkeypatch.setattr(Path, "mkdir", read_only)
        with pytest.raises(UserError, match="out: read-only file system; change who may write there, or name another"):
            try_folder(tmp_path / "out")

    def test_a_full_disk_is_found_before_anything_is_computed(self, tmp_path, monkeypatch):
        def full(_):
            raise OSError(errno.ENOSPC, "x")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="out: no space left on device; .*make room"):
            try_folder(tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())


def test_reading_what_does_not_fit_memory_names_the_case_and_the_size():
    def resample(case):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes")

    with pytest.raises(CaseError, match="^a: memory does not suffice to read and resample it for 3.0 GiB more; "):
        CaseDataset([{"case": "a"}], resample)[0]


@pytest.mark.parametrize("shape", [(0, 16, 16), (16, 16, 0), (4, 4, 4, 0)])
def test_an_axis_without_voxels(tmp_path, shape):
    path = tmp_path / "a.nii.gz"
    nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)).to_filename(path)
    sizes = " x ".join(map(str, shape))
    with pytest.raises(
        CaseError, match=f"^a: .*a.nii.gz has {sizes} voxels, so it holds no image; .* convert it again$"
    ):
        read_volume(path, case="a")


class TestGpuMemory:
    def infer(self, caplog, fail_on_cpu=False):
        inferer = ModalityAwareInferer(roi_size=(4, 4, 4))
        slide, places = inferer._slide, []

        def small(*arguments):
            places.append(inferer.device)
            if inferer.device is None or fail_on_cpu:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return slide(*arguments)

        inferer._slide = small
        image = torch.rand(1, 2, 6, 4, 4)
        return inferer(image, lambda windows, presence: windows * 3), image, places

    def test_too_little_puts_the_windows_together_on_the_cpu(self, caplog):
        result, image, places = self.infer(caplog)
        assert torch.allclose(result, (image * 3).softmax(1)) and places == [None, "cpu"]
        assert caplog.text.count("put together on the CPU") == 1

    def test_still_too_little_is_an_error(self, caplog):
        with pytest.raises(torch.OutOfMemoryError):
            self.infer(caplog, fail_on_cpu=True)


class TestDatalist:
    CASE = {"case": "a", "t1": "t1.nii.gz"}

    def load(self, tmp_path, content: bytes):
        (tmp_path / "datalist.json").write_bytes(content)
        return Datalist(tmp_path / "datalist.json").cases("training", ["t1"])

    def test_a_byte_order_mark_is_read(self, tmp_path):
        (case,) = self.load(tmp_path, b"\xef\xbb\xbf" + json.dumps({"training": [self.CASE]}).encode())
        assert case["case"] == "a"

    def test_utf_16_is_read_as_powershell_writes_it(self, tmp_path):
        (case,) = self.load(tmp_path, json.dumps({"training": [self.CASE | {"case": "Müller"}]}).encode("utf-16"))
        assert case["case"] == "Müller"

    def test_another_encoding_is_told(self, tmp_path):
        text = json.dumps({"training": [self.CASE | {"case": "Müller"}]}, ensure_ascii=False)
        with pytest.raises(ValueError, match="datalist.json: is not a text file in UTF-8; save it as that"):
            self.load(tmp_path, text.encode("latin-1"))

    def test_deep_nesting(self, tmp_path):
        with pytest.raises(ValueError, match="datalist.json: is nested too deeply"):
            self.load(tmp_path, b"[" * 200_000)

    def test_half_of_a_character(self, tmp_path):
        with pytest.raises(ValueError, match="holds half of a character"):
            self.load(tmp_path, json.dumps({"training": [self.CASE | {"t1": "\ud800.nii.gz"}]}).encode())

    def test_a_whole_one_written_in_two_halves(self, tmp_path):
        (case,) = self.load(tmp_path, json.dumps({"training": [self.CASE | {"case": "\U0001f9e0"}]}).encode())
        assert case["case"] == "\U0001f9e0"
