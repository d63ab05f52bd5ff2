"""Outputs replace only what this program wrote, and a folder is for one run at a time."""

import gzip
import os
import subprocess
import sys

import pytest

from passion_components.data.errors import UserError
from passion_components.data.outputs import check_replaceable, is_own, locked, remove_own, remove_partial_files

HOLD = """
import sys
from passion_components.data.outputs import locked
with locked(sys.argv[1], "training"):
    print("held", flush=True)
    sys.stdin.read()
"""


class TestMarks:
    def test_a_strangers_file_is_never_replaced(self, tmp_path):
        path = tmp_path / "P1_seg.nii.gz"
        check_replaceable(path, "mark")
        path.write_bytes(b"ground truth")
        with pytest.raises(UserError, match=r"P1_seg.nii.gz: exists already and was not written by this program"):
            check_replaceable(path, "mark")
        with pytest.raises(UserError):
            remove_own(path, "mark")
        assert path.read_bytes() == b"ground truth"

    @pytest.mark.parametrize("content", [b"a mark", gzip.compress(b"a mark")], ids=["plain", "compressed"])
    def test_ours_is_known_by_its_mark_and_goes(self, tmp_path, content):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert is_own(path, b"mark") and not is_own(path, "other")
        remove_own(path, "mark")
        assert not path.exists()

    def test_damaged_files_links_to_nowhere_and_folders_are_not_ours(self, tmp_path):
        (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a mark" * 99)[:20])
        (tmp_path / "changed.gz").write_bytes(gzip.compress(b"a mark" * 99)[:10] + b"\xff" * 20)
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        (tmp_path / "folder").mkdir()
        for name in ("cut.gz", "changed.gz", "link", "folder"):
            with pytest.raises(UserError):
                check_replaceable(tmp_path / name, "mark")


class TestLock:
    @pytest.fixture
    def holder(self, tmp_path):
        """Another process that holds the folder for training."""
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path / "out"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
        process.communicate()

    def test_a_second_run_is_refused_until_the_first_is_killed(self, tmp_path, holder):
        line = rf"out: another training \(process {holder.pid}\) writes there; wait for its end, or name another"
        with pytest.raises(UserError, match=line), locked(tmp_path / "out", "training"):
            raise AssertionError("the folder was free")
        with locked(tmp_path / "out", "inference"):
            pass
        holder.kill()
        holder.wait()
        assert (tmp_path / "out" / ".training.lock").exists()
        with locked(tmp_path / "out", "training"):
            pass

    def test_nothing_is_left(self, tmp_path):
        with locked(tmp_path / "out", "training"):
            assert (tmp_path / "out").is_dir()
        assert not (tmp_path / "out").exists()


def test_half_written_files_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = tmp_path / "P1"
    folder.mkdir()
    names = [f".partial-{process}-P1_seg.nii.gz" for process in (dead.pid, os.getpid(), os.getppid())]
    for name in [*names, ".partial-note", "P1_seg.nii.gz"]:
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    elsewhere = folder / f".partial-{dead.pid}-P2_seg.nii.gz"  # as of a process on another machine
    elsewhere.touch()
    remove_partial_files(tmp_path)
    assert {path.name for path in folder.iterdir()} == {names[2], ".partial-note", "P1_seg.nii.gz", elsewhere.name}
