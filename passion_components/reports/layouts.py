"""Tables over settings, laid out as those of the PASSION paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from passion_components.metrics.metric import METRICS
from passion_components.modalities import AS_LISTED
from passion_components.reports.cells import (
    Cell,
    Column,
    Table,
    interval_cell,
    interval_column,
    label,
    label_column,
    mean_cell,
    mean_column,
)
from passion_components.reports.comparable import remarks, unknown_repetitions
from passion_components.reports.comparison import COVERAGE, RESAMPLES, Setting, difference
from passion_components.reports.runs import Run

AVERAGE = "Avg."
COMPONENTS = {"pixel": "L_pixel", "semantic": "L_proto", "delta": "delta", "beta": "beta"}
"""Switch of ``PassionObjective`` -> heading in Table 2."""
NOT_OF_THE_PAPER = ("unimodal", "temperature_squared", "teacher_first")
"""Switches of ``PassionObjective`` that make another objective of it than Eq. 14."""


def comparison_tables(settings: Sequence[Setting]) -> list[Table]:
    """Every table that the settings allow: Tables 1 to 3, means by number of modalities, paired differences.

    Args:
        settings: comparable ones, see :func:`~passion_components.reports.comparison.check_comparable`.
    """
    summary = settings[0].runs[0].summary
    tables = [settings_table(settings)]
    if any(components(setting) for setting in settings):
        tables.append(components_table(settings))
    tables += [subsets_table(settings, metric) for metric in summary["metrics"]]
    tables += [counts_table(settings, metric) for metric in summary["metrics"]]
    if len(settings) > 1:
        tables.append(differences_table(settings))
    return tables


def settings_table(settings: Sequence[Setting]) -> Table:
    """Means over subsets, a row a setting, ordered by missing rates (Table 1)."""
    rates = list(dict.fromkeys(rates_text(setting.runs[0].missing_rates) for setting in settings))
    ordered = sorted(settings, key=lambda setting: rates.index(rates_text(setting.runs[0].missing_rates)))
    heads = [label_column(heading) for heading in ("missing rates", "setting", "trained with", "runs", "n")]
    rows = []
    for setting in ordered:
        words = (rates_text(setting.runs[0].missing_rates), setting.name, trained_with(setting.runs[0]))
        counts = (label(len(setting.runs)), label(setting.counts("overall")))
        rows.append((*map(label, words), *counts, *_overall_cells(setting)))
    title = "Settings by missing rates (layout of Table 1)"
    caption = f"{_caption(settings)} Scores: mean over cases, then subsets. n: pairs of case and subset in a run."
    return Table("table1", title, caption, (*heads, *_overall_columns(settings)), len(heads), tuple(rows))


def components_table(settings: Sequence[Setting]) -> Table:
    """Means over subsets, a row for each choice of the objective's components, fewest first (Table 2)."""
    known = [(switches, setting) for setting in settings if (switches := components(setting))]
    known.sort(key=lambda pair: (sum(pair[0].values()), [not on for on in pair[0].values()]))
    heads = [*(label_column(heading) for heading in COMPONENTS.values())]
    heads += [label_column(heading) for heading in ("missing rates", "setting", "runs", "n")]
    rows = []
    for switches, setting in known:
        words = (
            *("yes" if on else "no" for on in switches.values()),
            rates_text(setting.runs[0].missing_rates),
            setting.name,
        )
        counts = (label(len(setting.runs)), label(setting.counts("overall")))
        rows.append((*map(label, words), *counts, *_overall_cells(setting)))
    title = "Components of the objective (layout of Table 2)"
    caption = f"{_caption(settings)} Scores: mean over cases, then subsets. Settings with Eq. 2 or Eq. 14 alone."
    return Table("table2", title, caption, (*heads, *_overall_columns(settings)), len(heads), tuple(rows))


def subsets_table(settings: Sequence[Setting], metric: str) -> Table:
    """Means over cases, a column a subset, a row a region and setting (Table 3)."""
    places = [("subsets", subset) for subset in settings[0].runs[0].summary["subsets"]]
    names = [subset for _, subset in places]
    title = f"{METRICS[metric].heading} by subset of modalities (layout of Table 3)"
    caption = f"{_caption(settings)} Scores: mean over the cases that have the subset; Avg.: mean over subsets."
    return _by_place(f"table3_{metric}", title, caption, settings, metric, names, places)


def counts_table(settings: Sequence[Setting], metric: str) -> Table:
    """Means over cases and subsets of one size, a column a size, a row a region and setting."""
    places = [("by_count", count) for count in settings[0].runs[0].summary["by_count"]]
    names = [f"{count} present" for _, count in places]
    title = f"{METRICS[metric].heading} by number of present modalities"
    caption = f"{_caption(settings)} Scores: mean over cases, then over the subsets of that size; Avg.: over all."
    return _by_place(f"counts_{metric}", title, caption, settings, metric, names, places)


def differences_table(settings: Sequence[Setting]) -> Table:
    """Every setting against the first one on the same cases and subsets, with intervals."""
    summary, first = settings[0].runs[0].summary, settings[0]
    regions = [*summary["regions"], *_average(summary)]
    heads = [label_column(heading) for heading in ("setting", "subset", "cases")]
    columns = [interval_column(metric, region) for metric in summary["metrics"] for region in regions]
    better = ", ".join(
        f"{'more' if METRICS[name].more_is_better else 'less'} {METRICS[name].label}" for name in summary["metrics"]
    )
    rows = []
    for setting in settings[1:]:
        paired = difference(setting, first)
        for place, subset in enumerate(("mean over subsets", *summary["subsets"])):
            cells = [
                interval_cell(metric, *(array[place, i, j] for array in (paired.value, paired.low, paired.high)))
                for i, metric in enumerate(summary["metrics"])
                for j, _ in enumerate(regions)
            ]
            rows.append((label(setting.name), label(subset), label(int(paired.cases[place])), *cells))
    title = f"Paired differences to {first.name}"
    caption = (
        f"{_caption(settings)} Setting minus {first.name}, over the cases and subsets that both have, after averaging "
        f"the runs of a setting; in brackets the {100 * COVERAGE:g} % interval by bootstrap over cases ({RESAMPLES} "
        f"resamples, fixed seed). It covers the choice of cases, not that of the training's seed. Better is {better}."
    )
    return Table("differences", title, caption, (*heads, *columns), len(heads), tuple(rows))


def components(setting: Setting) -> dict[str, bool]:
    """Which components of Eq. 14 act in a setting; empty where it is neither Eq. 14 nor Eq. 2 alone.

    delta weighs the semantic term and beta the pixel-wise one: without its term neither counts, whatever its switch.
    """
    run = setting.runs[0]
    if run.trained_on.get("presence_sampling", AS_LISTED) != AS_LISTED:
        return {}
    if run.objective == "BaselineObjective":
        return dict.fromkeys(COMPONENTS, False)
    found = run.trained_on.get("objective", {})
    if run.objective != "PassionObjective" or not COMPONENTS.keys() <= found.keys() or _departures(run):
        return {}
    acts = {name: bool(found[name]) for name in COMPONENTS}
    return acts | {"delta": acts["delta"] and acts["semantic"], "beta": acts["beta"] and acts["pixel"]}


def rates_text(rates: Mapping[str, float]) -> str:
    """Missing rates as tables show them."""
    if rates and not any(rates.values()):
        return "0 (PDT)"
    return ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items()) or "unknown"


def trained_with(run: Run) -> str:
    """Names of network, objective and what presence was reduced by, as ``RFNet, Passion, moddrop``.

    What makes another objective than Eq. 14 stands behind it, as ``Passion (unimodal neglected)``.
    """
    sampling = str(run.trained_on.get("presence_sampling", "")).replace(AS_LISTED, "")
    departures = ", ".join(name if value is True else f"{name} {value}" for name, value in _departures(run).items())
    objective = run.objective.removesuffix("Objective") + (f" ({departures})" if departures else "")
    words = [run.network, objective, sampling]
    return ", ".join(word for word in words if word) or "unknown"


def _departures(run: Run) -> dict[str, Any]:
    """Switches that make another objective than Eq. 14, where they are on."""
    found = run.trained_on.get("objective", {})
    switches = {**found, **found.get("distillation_loss", {})}
    return {name: switches[name] for name in NOT_OF_THE_PAPER if switches.get(name)}


def _by_place(
    name: str,
    title: str,
    caption: str,
    settings: Sequence[Setting],
    metric: str,
    names: Sequence[str],
    places: Sequence[tuple[str, str]],
) -> Table:
    """A column a place in the summaries and one for their mean; rows by region, then setting; n at the bottom."""
    heads = tuple(label_column(heading) for heading in ("region", "setting"))
    columns = tuple(mean_column(metric, what, short=True) for what in (*names, AVERAGE))
    where: list[tuple[str, ...]] = [*places, ("mean_over_subsets",)]
    rows: list[tuple[Cell, ...]] = []
    for region in settings[0].runs[0].summary["regions"]:
        for setting in settings:
            cells = [mean_cell(metric, setting.means(*place, metric, region)) for place in where]
            rows.append((label(region), label(setting.name), *cells))
    counts = {setting.name: [setting.counts(*place) for place in where] for setting in settings}
    if all(numbers == counts[settings[0].name] for numbers in counts.values()):
        counts = {"every setting": counts[settings[0].name]}
    for setting_name, numbers in counts.items():
        rows.append((label("n"), label(setting_name), *(Cell(number, (number, None)) for number in numbers)))
    return Table(name, title, caption, (*heads, *columns), len(heads), tuple(rows))


def _overall_columns(settings: Sequence[Setting]) -> list[Column]:
    summary = settings[0].runs[0].summary
    regions = [*summary["regions"], *_average(summary)]
    return [mean_column(metric, region) for metric in summary["metrics"] for region in regions]


def _overall_cells(setting: Setting) -> list[Cell]:
    summary = setting.runs[0].summary
    cells = []
    for metric in summary["metrics"]:
        cells += [mean_cell(metric, setting.means("mean_over_subsets", metric, r)) for r in summary["regions"]]
        cells += [mean_cell(metric, setting.means("overall", metric)) for _ in _average(summary)]
    return cells


def _average(summary: Mapping[str, Any]) -> list[str]:
    """A column for the mean over regions, where there are several."""
    return [AVERAGE] if len(summary["regions"]) > 1 else []


def _caption(settings: Sequence[Setting]) -> str:
    runs = [run for setting in settings for run in setting.runs]
    cases = sorted({run.summary["cases"] for run in runs})
    number = str(cases[0]) if len(cases) == 1 else f"{cases[0]} to {cases[-1]}"
    spread = " ±: standard deviation over runs." if len(runs) > len(settings) else ""
    summary = runs[0].summary
    said = [*remarks(runs), *(note for setting in settings for note in unknown_repetitions(setting.runs))]
    notes = "".join(f" Note: {note}." for note in said)
    return f"{summary['dataset']}, {number} cases.{spread} Empty masks by policy `{summary['policy']}`.{notes}"
