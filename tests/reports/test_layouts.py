"""The paper's tables over settings."""

from __future__ import annotations

import csv
import io

import pytest

from passion_components.reports.cells import csv_text, interval_cell, markdown, mean_cell
from passion_components.reports.comparison import settings_of
from passion_components.reports.layouts import comparison_tables, components, rates_text, trained_with
from passion_components.reports.runs import read_run, read_runs

PASSION = "PassionObjective( lambda1=0.5, pixel=True, semantic=True, delta={delta}, beta=True, warmup=0 )"
PDT = {"flair": 0.0, "t1": 0.0, "t1ce": 0.0}


@pytest.fixture
def tables(make_run):
    """Of a baseline with two seeds, PASSION without delta, and the baseline on complete data."""
    cases = {"P1": 0.4, "P2": 0.6}
    folders = [
        make_run("base0", cases),
        make_run("base1", {case: dice + 0.1 for case, dice in cases.items()}, seed=1),
        make_run("passion", {case: dice + 0.2 for case, dice in cases.items()}, objective=PASSION.format(delta=False)),
        make_run("pdt", cases, missing_rates=PDT, datalist="complete.json"),
    ]
    made = comparison_tables(settings_of(read_runs(list(map(str, folders)))))
    return {table.name: table for table in made}


def lines(table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


class TestTables:
    def test_every_table_names_the_policy_and_has_n(self, tables):
        assert list(tables) == [
            *("table1", "table2", "table3_dice", "table3_hd95", "counts_dice", "counts_hd95", "differences")
        ]
        for table in tables.values():
            headings = {column.heading for column in table.columns} | {row[0].text for row in table.rows}
            assert "policy `brats`" in table.caption and headings & {"n", "cases"}

    def test_settings_stand_by_missing_rates_with_mean_and_spread_over_runs(self, tables):
        # over subsets the mean is Dice - (3 x .2 + 3 x .1) / 7; seeds 0.1 apart spread by 0.1 / sqrt 2
        assert lines(tables["table1"]) == [
            ["t1 0.20, flair 0.80, t1ce 0.50", "base0", "RFNet, Baseline", "2", "14", "42.14 ± 7.07", "4.21 ± 0.71"],
            ["t1 0.20, flair 0.80, t1ce 0.50", "passion", "RFNet, Passion", "1", "14", "57.14", "5.71"],
            ["0 (PDT)", "pdt", "RFNet, Baseline", "1", "14", "37.14", "3.71"],
        ]

    def test_components_stand_fewest_first(self, tables):
        assert [row[:4] for row in lines(tables["table2"])] == [["no"] * 4, ["no"] * 4, ["yes", "yes", "no", "yes"]]

    def test_a_setting_that_also_drops_modalities_is_no_row_of_the_ablation(self, make_run):
        made = [make_run(name, {"P1": 0.5}, presence_sampling=name) for name in ("as listed", "moddrop")]
        tables = {table.name: table for table in comparison_tables(settings_of(read_runs(list(map(str, made)))))}
        assert [row[2].text for row in tables["table1"].rows] == ["RFNet, Baseline", "RFNet, Baseline, moddrop"]
        assert len(tables["table2"].rows) == 1

    def test_subsets_are_columns_in_the_order_of_the_data_set(self, tables):
        table = tables["table3_dice"]
        names = ["t1", "flair", "t1ce", "t1+flair", "t1+t1ce", "flair+t1ce", "t1+flair+t1ce", "Avg."]
        assert [column.heading for column in table.columns] == ["region", "setting", *names]
        assert lines(table)[1] == ["lesion", "passion", *["50.00"] * 3, *["60.00"] * 3, "70.00", "57.14"]
        assert lines(table)[-1] == ["n", "every setting", *["2"] * 7, "14"]

    def test_counts_of_modalities_are_columns(self, tables):
        assert lines(tables["counts_dice"])[1] == ["lesion", "passion", "50.00", "60.00", "70.00", "57.14"]

    def test_differences_are_to_the_first_setting(self, tables):
        assert tables["differences"].title == "Paired differences to base0"
        first, *_ = lines(tables["differences"])
        assert first == ["passion", "mean over subsets", "2", "+15.00 [+15.00, +15.00]", "+1.50 [+1.50, +1.50]"]

    def test_n_is_a_row_a_setting_where_they_differ(self, make_run):
        folders = [make_run("a", {"P1": 0.5}), make_run("b", {"P1": 0.5, "P2": 0.5})]
        *_, table, _, _ = comparison_tables(settings_of(read_runs(list(map(str, folders)))))
        assert [row for row in lines(table) if row[0] == "n"] == [
            ["n", "a", "3", "3", "1", "7"],
            ["n", "b", "6", "6", "2", "14"],
        ]

    def test_csv_holds_what_was_measured(self, tables):
        _, row, *_ = csv.DictReader(io.StringIO(csv_text(tables["table3_dice"])))
        assert float(row["dice t1"]) == pytest.approx(50.0, abs=1e-12) and row["dice t1 sd"] == ""

    def test_markdown_rows_have_the_columns_of_the_head(self, tables):
        for table in tables.values():
            head, *rows = [line for line in markdown(table).splitlines() if line.startswith("|")]
            assert {row.count("|") for row in rows} == {head.count("|")}

    def test_one_setting_has_no_differences(self, make_run):
        made = comparison_tables(settings_of([read_run(make_run("a", {"P1": 0.5}), "a")]))
        assert "differences" not in [table.name for table in made]


class TestComponents:
    def test_another_objective_has_none(self, make_run):
        (other,) = settings_of([read_run(make_run("a", {"P1": 0.5}, objective="PMRObjective( lambda_pmr=0.1 )"), "a")])
        assert components(other) == {}

    @pytest.mark.parametrize("switch", ["unimodal", "temperature_squared", "teacher_first"])
    def test_what_is_not_the_papers_objective_has_none(self, make_run, switch):
        on = dict.fromkeys(("pixel", "semantic", "delta", "beta"), True)
        place = {"unimodal": True} if switch == "unimodal" else {"distillation_loss": {switch: True}}
        about = {"objective": "PassionObjective( )", "objective_settings": {"class": "PassionObjective"} | on | place}
        (one,) = settings_of([read_run(make_run("a", {"P1": 0.5}, **about), "a")])
        assert components(one) == {}
        assert trained_with(one.runs[0]).endswith(f"Passion ({switch})")

    def test_which_paths_are_supervised_is_told(self, make_run):
        about = {"class": "PassionObjective", "unimodal": "neglected"}
        run = read_run(make_run("a", {"P1": 0.5}, objective="PassionObjective( )", objective_settings=about), "a")
        assert trained_with(run).endswith("Passion (unimodal neglected)")

    @pytest.mark.parametrize(
        ("off", "row"),
        [
            ((), "xxxx"),
            (("beta",), "xxx-"),
            (("delta", "beta"), "xx--"),
            (("pixel", "delta"), "-x--"),
            (("semantic", "beta"), "x---"),
            (("semantic",), "x--x"),
            (("pixel",), "-xx-"),
            (("pixel", "semantic"), "----"),
        ],
    )
    @pytest.mark.parametrize("recorded", [True, False])
    def test_the_commands_of_the_ablation_are_its_rows(self, make_run, off, row, recorded):
        """A switch counts where the term that it weighs is on, from the text of old records as from their settings."""
        on = {name: name not in off for name in ("pixel", "semantic", "delta", "beta")}
        if recorded:
            about = {"objective": "PassionObjective( )", "objective_settings": {"class": "PassionObjective"} | on}
        else:
            about = {"objective": f"PassionObjective( {', '.join(f'{name}={value}' for name, value in on.items())} )"}
        (one,) = settings_of([read_run(make_run("a", {"P1": 0.5}, **about), "a")])
        assert "".join("x" if acts else "-" for acts in components(one).values()) == row

    def test_switches_of_eq_14_are_read(self, make_run):
        objective = PASSION.format(delta=False)
        (one,) = settings_of([read_run(make_run("a", {"P1": 0.5}, objective=objective), "a")])
        assert components(one) == {"pixel": True, "semantic": True, "delta": False, "beta": True}


class TestCells:
    def test_runs_without_a_value_are_left_out_of_the_mean(self):
        assert mean_cell("dice", [0.5, None]).text == "50.00" and mean_cell("dice", [None]).text == "–"

    def test_a_difference_without_interval_is_the_number_alone(self):
        nan = float("nan")
        assert interval_cell("hd95", -1.234, nan, nan).text == "-1.23"
        assert interval_cell("hd95", nan, nan, nan).text == "–"

    def test_unknown_rates_are_said(self):
        assert rates_text({}) == "unknown"
