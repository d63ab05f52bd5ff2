import json
import re
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from passion_components import __version__
from passion_components.cli import COMMANDS, app, command_named, main

PARTS = ("training", "validation", "test")
RATES = "t1=.2,t1ce=.4,flair=.6,t2=.8"


@pytest.fixture(autouse=True)
def plain_narrow_terminal(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    result = CliRunner().invoke(app, ["phantom", "brain", "--cases", "10", "--out", str(folder), "--size", "16,16,16"])
    assert result.exit_code == 0, result.output
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_line(capsys, monkeypatch, *arguments):
    """The one line that ``passion`` leaves on stderr."""
    monkeypatch.setattr(sys, "argv", ["passion", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("words", [["predict", ""], ["evaluate", "--pred", ""], ["prepare", "brats", "x", "--out="]])
def test_an_unset_variable_of_a_script_is_no_folder(words):
    result = run(*words)
    assert result.exit_code == 2 and f"an empty word stands after {words[-1].rstrip('=') or words[-2]}" in result.output


class TestHelp:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_the_list_says_of_each_command_what_its_own_help_says_first(self, name):
        command = command_named(name)
        assert command.name == name and " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]

    def test_does_not_wait_for_torch(self):
        code = "import sys, passion_components.cli as cli; cli.app(['--help'], standalone_mode=False)"
        tail = "; assert not {'torch', 'monai', 'numpy'} & sys.modules.keys()"
        assert subprocess.run([sys.executable, "-c", code + tail], capture_output=True).returncode == 0

    def test_commands_that_only_read_files_need_no_torch(self):
        names = ("check", "new-dataset", "phantom", "prepare", "simulate-missing", "tables")
        code = (
            "import sys; from passion_components.cli import command_named\n"
            f"for name in {names}: command_named(name)\n"
            "print(sorted({'torch', 'monai', 'matplotlib'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_version(self):
        assert run("--version").output.strip() == f"passion {__version__}"

    @pytest.mark.parametrize(
        ("command", "example"),
        [
            ([], "passion phantom brain --cases 40 --out data"),
            (["phantom", "brain"], "passion phantom brain --cases 2 --size 240,240,155"),
            (["prepare", "brats"], "passion prepare brats MICCAI_BraTS2020_TrainingData --out data"),
            (["prepare", "lgg"], "passion prepare lgg kaggle_3m --out data --test TCGA_DU_7294_19890104"),
            (["phantom", "heart"], "passion phantom heart --cases 25 --out hearts"),
            (["phantom", "lgg"], "passion phantom lgg --cases 12 --out lgg"),
            (["check"], "passion check hearts/datalist.json --dataset myops2020 --json report.json"),
            (["evaluate"], "passion evaluate --pred DIR --label DIR --dataset brats2020"),
            (["simulate-missing"], "passion simulate-missing data/datalist.json --out data/missing.json"),
        ],
    )
    def test_every_command_shows_an_example(self, command, example):
        result = run(*command, "--help")
        assert result.exit_code == 0 and example in re.sub(r"\x1b\[[0-9;]*m", "", result.output)

    def test_an_unknown_option_is_refused(self):
        assert run("phantom", "brain", "--epoks", "3").exit_code == 2


class TestPhantom:
    def test_writes_cases_and_datalist(self, data):
        content = json.loads((data / "datalist.json").read_text())
        assert [len(content[part]) for part in ("training", "validation", "test")] == [7, 1, 2]
        assert len(list(data.glob("BrainPhantom_*/*.nii.gz"))) == 50

    def test_the_table_counts_cases_per_part(self, tmp_path):
        result = run("phantom", "brain", "--cases", 2, "--out", tmp_path, "--size", "16,16,16", "--split", "test=1")
        assert result.exit_code == 0 and result.output.startswith(str(tmp_path / "datalist.json"))
        rows = [line.replace("│", " ").split() for line in result.output.splitlines()]
        assert ["training", "0", "0", "0", "0", "0"] in rows and ["test", "2", "2", "2", "2", "2"] in rows

    def test_a_used_folder_is_refused_in_one_line(self, data, capsys, monkeypatch):
        line = error_line(capsys, monkeypatch, "phantom", "brain", "--cases", 1, "--out", data)
        assert "not an empty folder" in line

    @pytest.mark.parametrize("size", ["48", "48,48,4.8", "48,48,x"])
    def test_a_size_of_another_form_is_refused(self, size, tmp_path, capsys, monkeypatch):
        line = error_line(capsys, monkeypatch, "phantom", "brain", "--cases", 1, "--out", tmp_path, "--size", size)
        assert "expected three whole numbers of voxels, like 48,48,48" in line

    def test_a_size_out_of_range_is_refused(self, tmp_path, capsys, monkeypatch):
        arguments = ("phantom", "brain", "--cases", 1, "--out", tmp_path / "d", "--size", "8,48,48")
        assert "size 8x48x48 cannot be drawn" in error_line(capsys, monkeypatch, *arguments)
        assert not (tmp_path / "d").exists()

    def test_hearts_are_sized_in_plane(self, tmp_path, capsys, monkeypatch):
        arguments = ("phantom", "heart", "--cases", 2, "--out", tmp_path / "d", "--split", "test=1")
        line = error_line(capsys, monkeypatch, *arguments, "--size", "16,16,16")
        assert "expected two whole numbers of voxels, like 48,48" in line and not (tmp_path / "d").exists()
        result = run(*arguments, "--size", "16,16")
        rows = [line.replace("│", " ").split() for line in result.output.splitlines()]
        assert result.exit_code == 0 and ["test", "2", "2", "2", "2"] in rows
        assert len(list((tmp_path / "d").glob("train25*/*.nii.gz"))) == 8


class TestPrepare:
    def test_lists_what_phantom_wrote(self, data, tmp_path):
        result = run("prepare", "brats", data, "--out", tmp_path, "--split", "training=.5,test=.5")
        assert result.exit_code == 0
        content = json.loads((tmp_path / "datalist.json").read_text())
        assert [len(content[part]) for part in ("training", "validation", "test")] == [5, 0, 5]

    def test_without_options_it_splits_as_phantom_does(self, data, tmp_path):
        assert run("prepare", "brats", data, "--out", tmp_path).exit_code == 0
        names = [
            {part: [case["case"] for case in json.loads(path.read_text())[part]] for part in PARTS}
            for path in (data / "datalist.json", tmp_path / "datalist.json")
        ]
        assert names[0] == names[1]

    def test_problems_are_notes_on_stderr(self, tmp_path):
        for name in ("P_t1.nii", "P_seg.nii", "odd.nii"):
            (tmp_path / name).touch()
        result = run("prepare", "brats", tmp_path, "--out", tmp_path / "out")
        assert result.exit_code == 0 and "odd.nii: names no sequence; expected for brats2020" in result.stderr

    def test_patterns_name_files_of_other_names(self, data, tmp_path):
        (tmp_path / "src").mkdir()
        for case in json.loads((data / "datalist.json").read_text())["test"]:
            shutil.copy(data / case["t1"], tmp_path / "src" / f"{case['case']} native.nii.gz")
            shutil.copy(data / case["label"], tmp_path / "src" / f"{case['case']} truth.nii.gz")
        patterns = ("--pattern", "T1=*native.nii.gz", "--pattern", "label=*truth.nii.gz")
        result = run("prepare", "brats", tmp_path / "src", "--out", tmp_path, "--split", "training=1,test=1", *patterns)
        assert (
            result.exit_code == 0 and "label scheme brats2020; values in the label files: 0, 1, 2, 4" in result.output
        )
        content = json.loads((tmp_path / "datalist.json").read_text())
        assert [len(content[part]) for part in PARTS] == [1, 0, 1] and "t1" in content["test"][0]

    def test_lists_and_a_label_scheme_are_taken_as_given(self, data, tmp_path):
        name = json.loads((data / "datalist.json").read_text())["training"][0]["case"]
        (tmp_path / "test.txt").write_text(name)
        options = ("--list", f"test={tmp_path / 'test.txt'}", "--label-scheme", "brats2024")
        result = run("prepare", "brats", data, "--out", tmp_path, *options)
        assert result.exit_code == 0 and "in no list; left out" in result.stderr
        content = json.loads((tmp_path / "datalist.json").read_text())
        assert [case["case"] for case in content["test"]] == [name] and content["label_scheme"] == "brats2024"

    def test_the_parts_of_lists_are_checked(self, data, tmp_path, capsys, monkeypatch):
        line = error_line(capsys, monkeypatch, "prepare", "brats", data, "--out", tmp_path, "--list", "train=a.txt")
        assert "list 'train=a.txt': expected part=file with a part among training, validation, test" in line

    def test_lgg_takes_volumes_too(self, data, tmp_path):
        result = run(
            "prepare", "lgg", data, "--out", tmp_path, "--split", "test=1", "--pattern", "flair=*_flair.nii.gz"
        )
        assert result.exit_code == 0 and len(json.loads((tmp_path / "datalist.json").read_text())["test"]) == 10

    def test_no_such_folder(self, tmp_path, capsys, monkeypatch):
        line = error_line(capsys, monkeypatch, "prepare", "brats", tmp_path / "none", "--out", tmp_path)
        assert "none: no such folder" in line


class TestSimulateMissing:
    def test_writes_the_list_and_reports_rates_and_subsets(self, data, tmp_path):
        result = run("simulate-missing", data / "datalist.json", "--rates", RATES, "--out", tmp_path / "m.json")
        assert result.exit_code == 0, result.output
        training = json.loads((tmp_path / "m.json").read_text())["training"]
        rows = [line.replace("│", " ").split() for line in result.output.splitlines()]
        with_t2 = sum("t2" in case for case in training)
        assert ["t2", "0.800", f"{1 - with_t2 / 7:.3f}", str(with_t2)] in rows
        t1_alone = sum(set(case) & {"flair", "t1ce", "t1", "t2"} == {"t1"} for case in training)
        assert ["t1", str(t1_alone)] in rows and len([row for row in rows if len(row) == 2 and row[1].isdigit()]) == 15

    def test_the_seed_is_1037_unless_another_is_given(self, data, tmp_path):
        for name, seed in [("a", []), ("b", ["--seed", "1037"]), ("c", ["--seed", "1"])]:
            arguments = ("--rates", RATES, "--out", tmp_path / name / "m.json", *seed)
            assert run("simulate-missing", data / "datalist.json", *arguments).exit_code == 0
        a, b, c = ((tmp_path / name / "m.json").read_text() for name in "abc")
        assert a == b != c

    def test_bernoulli_is_another_draw(self, data, tmp_path):
        for method in ("quota", "bernoulli"):
            arguments = ("--rates", RATES, "--out", tmp_path / f"{method}.json", "--method", method)
            assert run("simulate-missing", data / "datalist.json", *arguments).exit_code == 0
        assert (tmp_path / "quota.json").read_text() != (tmp_path / "bernoulli.json").read_text()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--rates", "t1=.2"], "rates: none given for flair, t1ce, t2"),
            (["--rates", RATES, "--dataset", "brats"], "unknown data set 'brats'; accepted: brats2020"),
            (["--rates", "bssfp=.1,lge=.1,t2=.1", "--dataset", "myops2020"], "no case has bssfp"),
        ],
    )
    def test_mistakes_end_in_one_line(self, data, tmp_path, capsys, monkeypatch, options, message):
        arguments = ("simulate-missing", data / "datalist.json", *options, "--out", tmp_path / "m.json")
        assert message in error_line(capsys, monkeypatch, *arguments)


class TestLgg:
    def test_phantoms_are_prepared_with_a_summary(self, tmp_path):
        assert run("phantom", "lgg", "--cases", 8, "--size", "16,16,16", "--out", tmp_path / "lgg").exit_code == 0
        patient = "TCGA_BB_0001_19990101"
        result = run("prepare", "lgg", tmp_path / "lgg", "--out", tmp_path / "data", "--test", patient)
        assert result.exit_code == 0, result.output
        assert "8 patients, 64 slices" in result.output
        assert "t1ce absent in 2: TCGA_BB_0004_19990101, TCGA_CC_0008_19990101" in result.output
        assert "nominal" in result.output
        parts = json.loads((tmp_path / "data" / "datalist.json").read_text())
        assert patient in {case["case"] for case in parts["test"]}

    def test_what_is_left_out_is_told_and_the_others_go_to_the_part_that_is_asked_for(self, tmp_path):
        run("phantom", "lgg", "--cases", 2, "--size", "16,16,16", "--out", tmp_path / "lgg")
        damaged = "TCGA_BB_0001_19990101"
        (tmp_path / "lgg" / damaged / f"{damaged}_1_mask.tif").unlink()
        split = ("--split", "training=0,validation=0,test=1")
        result = run("prepare", "lgg", tmp_path / "lgg", "--out", tmp_path / "data", *split)
        assert result.exit_code == 0, result.output
        assert result.stderr.splitlines() == [
            f"note: {damaged}: no mask of slice 1; expected one for every number from 1 to 8: "
            f"fetch the folder again; left out"
        ]
        parts = json.loads((tmp_path / "data" / "datalist.json").read_text())
        assert [len(parts[part]) for part in ("training", "validation", "test")] == [0, 0, 1]

    def test_a_patient_in_two_parts_is_refused(self, tmp_path, capsys, monkeypatch):
        options = ("--test", "TCGA_A_1_1", "--training", "TCGA_A_1_1", "--out", tmp_path / "data")
        line = error_line(capsys, monkeypatch, "prepare", "lgg", tmp_path, *options)
        assert "TCGA_A_1_1 is forced into training and into test" in line


def test_prepare_myops_lists_what_phantom_heart_has_drawn(tmp_path):
    assert run("phantom", "heart", "--cases", 5, "--size", "16,16", "--out", tmp_path / "hearts").exit_code == 0
    split = "training=0.8,test=0.2"
    result = run("prepare", "myops", tmp_path / "hearts", "--out", tmp_path / "data", "--split", split)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "data" / "datalist.json").read_text())
    assert [len(content[part]) for part in PARTS] == [4, 0, 1] and content["label_scheme"] == "myops2020"
    assert set(content["test"][0]) == {"case", "bssfp", "lge", "t2", "label"}


def test_simulate_missing_follows_a_published_split(data, tmp_path, capsys, monkeypatch):
    names = [case["case"] for case in json.loads((data / "datalist.json").read_text())["training"]]
    lines = [
        "data_name,mask_id,mask,pos_mask_ids",
        *(f'HG_{name},3,"[True, False, False, False]",[3]' for name in names),
    ]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    out = data / "published.json"
    result = run("simulate-missing", data / "datalist.json", "--masks", tmp_path / "split.csv", "--out", out)
    assert result.exit_code == 0, result.output
    content = json.loads(out.read_text())
    assert all(set(case) == {"case", "flair", "label"} for case in content["training"])
    assert all("t1" in case for case in content["test"])
    both = ("--masks", tmp_path / "split.csv", "--rates", RATES, "--out", tmp_path / "x.json")
    line = error_line(capsys, monkeypatch, "simulate-missing", data / "datalist.json", *both)
    assert line == "error: expected either --rates or --masks; give one of them"


class TestEvaluate:
    @pytest.fixture
    def labels(self, data, tmp_path):
        """Copies of two cases' labels as predictions of some tool."""
        files = sorted(data.rglob("*_seg.nii.gz"))[:2]
        (tmp_path / "pred").mkdir()
        for file in files:
            shutil.copy(file, tmp_path / "pred" / file.name.replace("_seg", ""))
        return tmp_path / "pred"

    def test_prints_and_writes_the_scores_and_tells_what_has_no_partner(self, labels, data, tmp_path):
        out = tmp_path / "out"
        result = run("evaluate", "--pred", labels, "--label", data, "--dataset", "brats2020", "--out", out)
        assert result.exit_code == 0, result.output
        assert re.search(r"\| WT \| 100.00 \| 0.00 \| 2 \| \d / 0 \|", result.stdout)
        assert "warning: 8 of 10 labels have no prediction and are in no mean: " in result.stderr
        assert "(8 labels)." in result.stdout and (out / "table.md").read_text() == result.stdout
        assert len((out / "metrics.csv").read_text().splitlines()) == 1 + 2 * 3 * 2
        summary = json.loads((out / "summary.json").read_text())
        assert summary["cases"] == 2 and summary["run"]["labels"] == str(data)
        assert len(summary["run"]["unpredicted"]) == 8

    def test_metrics_and_policy_are_those_asked_for(self, labels, data):
        arguments = ("--dataset", "brats2020", "--metrics", "dice,hd", "--policy", "nan")
        output = run("evaluate", "--pred", labels, "--label", data, *arguments).stdout
        assert "| region | Dice, % | HD, mm | n | both / one empty | missed |" in output and "policy `nan`" in output

    def test_a_failed_case_is_one_line_and_exit_code_1(self, labels, data, capsys, monkeypatch):
        broken = sorted(labels.iterdir())[0]
        broken.write_bytes(b"no volume")
        arguments = ("evaluate", "--pred", labels, "--label", data, "--dataset", "brats2020")
        monkeypatch.setattr(sys, "argv", ["passion", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
        assert (
            stop.value.code == 1
            and str(broken) in errors[0]
            and errors[1:] == ["error: 1 of 2 cases scored, see above"]
        )
        assert "| WT | 100.00 | 0.00 | 1 |" in printed.out

    def test_a_file_for_the_output_is_refused_before_anything_is_scored(self, labels, data, capsys, monkeypatch):
        file = next(labels.iterdir())
        arguments = ("--pred", labels, "--label", data, "--dataset", "brats2020", "--out", file)
        monkeypatch.setattr("passion_components.cli.evaluate.score_pairs", None)
        assert f"{file}: is a file; name a folder" in error_line(capsys, monkeypatch, "evaluate", *arguments)

    def test_a_file_in_place_of_a_folder_is_told_in_words(self, tmp_path, capsys, monkeypatch):
        (tmp_path / "file").write_text("")
        arguments = ("phantom", "brain", "--cases", "1", "--out", tmp_path / "file" / "sub")
        assert f"error: {tmp_path}/file: is a file; expected a folder" in error_line(capsys, monkeypatch, *arguments)

    def test_an_unknown_metric_is_refused(self, labels, data, capsys, monkeypatch):
        arguments = ("evaluate", "--pred", labels, "--label", labels, "--dataset", "brats2020", "--metrics", "iou")
        assert "metrics must be among dice, hd95, hd, got iou" in error_line(capsys, monkeypatch, *arguments)
