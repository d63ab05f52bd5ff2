"""Metadata that must agree, and the scripts run against stand-ins for Python that only note how they are called."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import passion_components

ROOT = Path(__file__).parents[1]
SETUP_FILES = ("setup.cfg", "pyproject.toml", "constraints.txt")
HAS_DRIVER = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None

RECORDER = r"""#!/bin/bash
echo "$*" >> "$CALLS"
case "$*" in
    "-c "*) exit "${TOO_OLD:-0}" ;;
    --version) echo "Python 3.9.1" ;;
    "-m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *) [[ -z "${FAILING:-}" || ! "$*" =~ $FAILING ]] ;;
esac
"""


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    split = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in split}


def requirements() -> list[Requirement]:
    cfg = setup_cfg()
    lines = cfg["options"]["install_requires"] + cfg["options.extras_require"]["dev"]
    return [Requirement(line) for line in lines.split("\n") if line]


class TestMetadata:
    @pytest.mark.parametrize("requirement", requirements(), ids=str)
    def test_every_requirement_is_pinned_inside_its_range(self, requirement):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])

    def test_the_torch_pin_leaves_cpu_or_cuda_open(self):
        assert re.fullmatch(r"\d+\.\d+\.\d+", pins()["torch"])

    def test_the_broken_torch_release_is_excluded(self):
        torch = next(r for r in requirements() if r.name == "torch")
        assert not torch.specifier.contains("2.9.1") and torch.specifier.contains("2.10.0")

    def test_the_citation_names_the_version_of_the_package(self):
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
        assert citation["version"] == passion_components.__version__
        assert "Imbalanced Missing Rates" in citation["references"][0]["title"]

    def test_the_changelog_mentions_the_version_of_the_package(self):
        assert passion_components.__version__ in (ROOT / "CHANGELOG.md").read_text()

    def test_the_passion_command_exists(self):
        from passion_components import cli

        assert setup_cfg()["options.entry_points"]["console_scripts"].strip() == "passion = passion_components.cli:main"
        assert callable(cli.main)


def test_commands_in_the_guides_name_bundles_that_are_there():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages)
    named = re.findall(r"^(?:passion .*--bundle|cd) (?!PATH|\.\.)(\S+)", text, re.MULTILINE)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name / "configs").is_dir()] == []


class Clone:
    """A clone without .venv, in which every call of Python is noted and nothing is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        shutil.copytree(ROOT / "scripts", self.folder / "scripts", ignore=shutil.ignore_patterns("*.py", "templates"))
        for name in SETUP_FILES:
            shutil.copy(ROOT / name, self.folder)
        self.calls_file = folder / "calls"
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in ("python3", "python3.11", "python3.12", "python3.13"):
            (self.tools / name).write_text(RECORDER)
            (self.tools / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        path = f"{self.tools}:{os.environ['PATH']}"
        env = {"PATH": path, "CALLS": str(self.calls_file), **environment}
        command = ["bash", str(self.folder / "scripts" / script), *arguments]
        return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=60)

    def calls(self, word: str) -> list[str]:
        return [call for call in self.calls_file.read_text().splitlines() if word in call]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


class TestSetup:
    def test_the_second_run_installs_nothing(self, clone):
        assert clone.run("setup_env.sh").returncode == 0
        assert clone.calls("install")
        assert clone.run("setup_env.sh").stdout == ""
        assert not clone.calls("venv") and not clone.calls("install")

    @pytest.mark.parametrize("name", SETUP_FILES)
    def test_a_changed_requirement_installs_again(self, clone, name):
        clone.run("setup_env.sh")
        with (clone.folder / name).open("a") as file:
            file.write("# changed\n")
        clone.run("setup_env.sh")
        assert clone.calls("--editable")

    def test_a_moved_clone_installs_again_at_its_new_place(self, clone):
        clone.run("setup_env.sh")
        command = clone.folder / ".venv/bin/pytest"
        command.write_text(f"#!{clone.folder}/.venv/bin/python3.11\nimport pytest\n")
        clone.folder = clone.folder.rename(clone.folder.with_name("elsewhere"))
        assert clone.run("setup_env.sh").returncode == 0
        assert clone.calls("--editable")
        moved = (clone.folder / ".venv/bin/pytest").read_text()
        assert moved == f"#!{clone.folder}/.venv/bin/python\nimport pytest\n"

    def test_an_install_that_fails_is_tried_again(self, clone):
        assert clone.run("setup_env.sh", FAILING="--editable").returncode != 0
        assert clone.run("setup_env.sh").returncode == 0
        assert clone.calls("--editable")

    def test_an_old_python_is_refused_in_one_line(self, clone):
        ran = clone.run("setup_env.sh", TOO_OLD="1")
        assert ran.returncode != 0 and not clone.calls("venv")
        assert ran.stderr.count("\n") == 1
        assert "found Python 3.9.1" in ran.stderr and "accepted: Python 3.11 or newer" in ran.stderr

    @pytest.mark.skipif(HAS_DRIVER, reason="this machine has an NVIDIA driver")
    @pytest.mark.parametrize(
        ("failing", "tried"),
        [
            ("never", ["configured"]),
            (r"\+cpu$", ["configured", "pytorch"]),
            (r"\+cpu", ["configured", "pytorch", "any"]),
        ],
    )
    def test_without_a_driver_the_cpu_build_is_asked_for_first(self, clone, failing, tried):
        assert clone.run("setup_env.sh", FAILING=failing).returncode == 0
        kinds = [
            "any" if "+cpu" not in c else "pytorch" if "pytorch.org" in c else "configured"
            for c in clone.calls("torch==")
        ]
        assert kinds == tried

    def test_with_a_driver_the_plain_build_is_installed(self, clone):
        (clone.tools / "nvidia-smi").write_text("#!/bin/sh\n")
        (clone.tools / "nvidia-smi").chmod(0o755)
        clone.run("setup_env.sh")
        assert clone.calls("torch==") and not clone.calls("+cpu")

    def test_everything_is_installed_under_the_constraints(self, clone):
        clone.run("setup_env.sh")
        assert all("--constraint constraints.txt" in call for call in clone.calls("install"))


class TestTestScript:
    def test_long_matrices_are_left_out_unless_asked_for(self, clone):
        clone.run("test.sh", "tests/losses", "-x")
        assert clone.calls("pytest") == ["-m pytest --numprocesses 2 --dist loadfile -m not full tests/losses -x"]
        clone.run("test.sh", "-x", "--full")
        assert clone.calls("pytest") == ["-m pytest --numprocesses 2 --dist loadfile -x"]

    @pytest.mark.parametrize("failing", ["ruff check", "ruff format", "mypy", "pytest"])
    def test_any_failure_fails_the_run_and_pytest_stays_last(self, clone, failing):
        assert clone.run("test.sh", FAILING=f"-m {failing}").returncode != 0
        assert "pytest" in clone.calls("-m")[-1]

    def test_success_is_success(self, clone):
        assert clone.run("test.sh").returncode == 0


def test_the_demo_gets_its_arguments_as_they_are(clone):
    clone.run("demo.sh", "--out", "a folder")
    assert clone.calls("demo.py") == [f"{clone.folder}/scripts/demo.py --out a folder"]


@pytest.mark.parametrize(
    ("file", "ignored"),
    [
        ("data/lgg/P1/flair.nii.gz", True),
        ("bundles/tcga_lgg_rfnet/data/lgg/P1/flair.nii.gz", True),
        ("bundles/tcga_lgg_rfnet/first/model.pt", True),
        ("bundles/tcga_lgg_rfnet/configs/train.json", False),
        ("passion_components/data/errors.py", False),
    ],
)
def test_git_ignores_patients_and_trainings_where_docs_and_cards_put_them(tmp_path, file, ignored):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    found = subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", file])
    assert found.returncode == (0 if ignored else 1)


class TestContainer:
    """No image is built: what the Dockerfile says must fit what lies here."""

    LINES = (ROOT / "Dockerfile").read_text().splitlines()
    FILTER = (ROOT / ".dockerignore").read_text().splitlines()

    def instructions(self, name: str) -> list[str]:
        return [line.removeprefix(name).strip() for line in self.LINES if line.startswith(f"{name} ")]

    def test_all_that_is_copied_exists_and_reaches_the_builder(self):
        let_in = {line[1:] for line in self.FILTER if line.startswith("!") and "/" not in line}
        sources = {s for words in self.instructions("COPY") if "--from" not in words for s in words.split()[:-1]}
        assert sources == let_in and all((ROOT / source).exists() for source in sources)

    def test_of_a_bundle_its_parts_alone_reach_the_builder(self):
        assert {"*", "**/__pycache__"} <= set(self.FILTER)
        after = self.FILTER[self.FILTER.index("bundles/*/*") + 1 :]
        assert after == [f"!bundles/*/{part}" for part in ("LICENSE", "configs", "docs", "models")]

    def test_the_wheel_is_made_of_all_that_setup_names(self):
        copied = " ".join(self.instructions("COPY")[:2]).split()
        metadata = setup_cfg()["metadata"]
        assert metadata["long_description"].removeprefix("file:").strip() in copied
        assert {metadata["license_files"], *SETUP_FILES, "passion_components"} <= set(copied)

    def test_everything_is_installed_under_the_constraints(self):
        installs = [line for line in self.instructions("RUN") if "pip install" in line]
        assert len(installs) == 2 and all("--constraint /tmp/constraints.txt" in line for line in installs)

    def test_it_runs_the_command_without_rights_of_root(self):
        assert self.instructions("ENV") == ["HOME=/home/passion USER=passion"]
        assert self.instructions("USER") == ["1000"] and self.instructions("ENTRYPOINT") == ['["passion"]']

    def test_its_python_is_one_that_is_accepted(self):
        images = self.instructions("FROM")
        versions = {re.match(r"python:(\d+\.\d+)-", image).group(1) for image in images}
        assert len(versions) == 1
        assert SpecifierSet(setup_cfg()["options"]["python_requires"]).contains(versions.pop())
