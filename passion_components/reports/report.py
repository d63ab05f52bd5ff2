"""The report: what was trained on what, how training went, what was scored, and pictures of cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from passion_components import __version__
from passion_components.data.outputs import check_replaceable
from passion_components.datasets import DatasetSpec
from passion_components.files import write_text_atomically
from passion_components.metrics.metric import METRICS
from passion_components.reports import charts
from passion_components.reports.cases import NoPictures, case_pictures
from passion_components.reports.cells import NO_CASE, mean_cell
from passion_components.reports.comparable import check_comparable, check_dataset
from passion_components.reports.comparison import Setting, settings_of
from passion_components.reports.layouts import comparison_tables, rates_text
from passion_components.reports.page import html
from passion_components.reports.runs import Run, RunError
from passion_components.reports.tables import single_scores, subset_scores

NOT_A_LOSS = ("lr", "seconds", "seconds_per_step", "seconds_waiting_for_data", "peak_memory_mb")
UNKNOWN = "unknown"
TITLE = "PASSION: "


def write_report(path: Path | str, runs: Sequence[Run], spec: DatasetSpec | None = None) -> None:
    """Write one HTML file about runs; it needs no other file, no network and no script.

    What a run lacks is said in its place, with how to make it.

    Args:
        path: the file.
        runs: any number.
        spec: the data set of all runs; None: of each its own, as far as its pictures need it.

    Raises:
        UserError: a file that this program did not write lies there; a run of another data set.
    """
    check_replaceable(path, f"<title>{TITLE}")
    check_dataset(runs, spec)
    write_text_atomically(path, report_html(runs, spec))


def report_html(runs: Sequence[Run], spec: DatasetSpec | None = None) -> str:
    """The page of :func:`write_report`: what came out first, then how training went, then every setting."""
    title = TITLE + ", ".join(dict.fromkeys(run.name for run in runs))
    sections = [("Comparison", comparison_section(runs))] if len(runs) > 1 else []
    sections += [(f"Scores of {run.name}", scores_section(run)) for run in runs]
    sections.append(("Cases", cases_section(runs, spec)))
    sections += [(f"Training of {run.name}", training_section(run, runs)) for run in runs]
    sections.append(("Settings", settings_section(runs)))
    body = [html.heading(1, title), *(html.paragraph(in_one_sentence(run)) for run in runs)]
    body += [
        html.paragraph(f"Written by passion {__version__}. The file may show images of patients: keep it as they are."),
        html.contents([(name, f"section-{number}") for number, (name, _) in enumerate(sections)]),
        "<main>",
    ]
    for number, (name, pieces) in enumerate(sections):
        body += ["<section>", html.heading(2, name, f"section-{number}"), *pieces, "</section>"]
    return str(html.page(title, [Markup(piece) for piece in (*body, "</main>")]))


def in_one_sentence(run: Run) -> str:
    """What a run came to."""
    about, summary = run.trained_on, run.summary
    network, objective = run.network or "a network", run.objective or "an unknown objective"
    trained = f"{run.name}: {network} trained with {objective} on {about.get('training_cases', 'unknown')} cases"
    if not summary:
        return f"{trained}, not scored yet."
    metric = METRICS[summary["metrics"][0]]
    means = summary["mean_over_subsets"][metric.name]
    scores = ", ".join(
        f"{region} {NO_CASE if means[region] is None else format(metric.shown(means[region]), '.1f')}"
        for region in summary["regions"]
    )
    return (
        f"{trained}; scored on {summary['cases']} cases of {summary['dataset']}, the mean over "
        f"{len(summary['subsets'])} subsets of the sequences is {scores} ({metric.heading})."
    )


def settings_section(runs: Sequence[Run]) -> Iterator[str]:
    """What was trained on what, and what was scored: a column a run, folded away."""
    facts = [_facts(run) for run in runs]
    names = dict.fromkeys(name for fact in facts for name in fact)
    rows = [(name, [fact.get(name, "–") for fact in facts]) for name in names]
    table = html.text_table("What was trained on what", [run.name for run in runs], rows)
    yield html.folded(f"What was trained on what, and scored how: {len(rows)} rows", table)


def comparison_section(runs: Sequence[Run]) -> Iterator[str]:
    """Bars, Dice by number of modalities, and the tables of ``passion tables``."""
    scored = [run for run in runs if run.summary]
    try:
        check_comparable(scored)
        settings = settings_of(scored)
    except RunError as error:
        yield html.paragraph(f"These runs cannot be compared: {error}", "missing")
        return
    if len(scored) < 2:
        yield html.paragraph("Fewer than two runs were scored: run evaluating with their --output_dir.", "missing")
        return
    yield html.side_by_side(_comparison_charts(settings))
    for table in comparison_tables(settings):
        yield html.heading(3, table.title)
        yield html.number_table(table)


def training_section(run: Run, runs: Sequence[Run]) -> Iterator[str]:
    """How one run was trained."""
    if run.training.history or run.training.preference:
        yield html.side_by_side(_training_charts(run, runs))
    else:
        yield html.paragraph(_without_training(run), "missing")


def scores_section(run: Run) -> Iterator[str]:
    """What one run scored from every subset."""
    if not run.summary:
        yield html.paragraph(
            f"Not scored: {run.folder} holds no summary.json. Run evaluating with this --output_dir.", "missing"
        )
        return
    summary = run.summary
    first = METRICS[summary["metrics"][0]]
    heat = {2 + i: first.greatest for i, _ in enumerate(summary["regions"]) if first.greatest is not None}
    yield html.number_table(subset_scores(summary, summary, f"{summary['cases']} cases"), heat)
    if "complete_cases" in summary:
        complete = summary["complete_cases"]
        yield html.number_table(
            subset_scores(summary, complete, f"the {complete['n']} cases that have every modality"), heat
        )
    if "dice" in summary["metrics"]:
        yield html.heading(3, "Dice by number of present modalities, and from each alone")
        curves = {region: _by_count(summary, region) for region in summary["regions"]}
        title = "Dice by number of present modalities"
        chart = charts.lines_svg(
            curves, title=title, xlabel="present modalities", ylabel=METRICS["dice"].heading, markers=True
        )
        yield html.side_by_side(
            [
                html.svg_figure(chart, _in_words(title, curves)),
                html.number_table(single_scores(summary, run.missing_rates)),
            ]
        )


def cases_section(runs: Sequence[Run], spec: DatasetSpec | None) -> Iterator[str]:
    """Image, reference and predictions in the best, the median and the worst case."""
    kept = [run for run in runs if run.summary and run.predictions.is_dir()]
    if not kept:
        yield html.paragraph(
            "No predictions were kept. Run evaluating with --save_predictions True: it writes them to predictions/ in "
            "the run's folder.",
            "missing",
        )
        return
    kept = [run for run in kept if run.summary["dataset"] == kept[0].summary["dataset"]]
    try:
        pictures, failures = case_pictures(kept, spec)
    except NoPictures as reason:
        yield html.paragraph(str(reason), "missing")
        return
    yield html.paragraph(
        "Cases by mean Dice over the shown subsets and all regions. Rows: all modalities, the best single one, "
        "the worst single one."
    )
    for picture in pictures:
        yield html.heading(3, f"{picture.rank.capitalize()} case: {picture.case}")
        caption = f"{picture.case}, mean Dice {100 * picture.dice:.1f} %"
        yield html.png_figure(picture.png, picture.text, caption, picture.columns)
    for failure in failures:
        yield html.paragraph(f"Not drawn: {failure}", "missing")


def _facts(run: Run) -> dict[str, str]:
    """What the head of the report says of a run."""
    record, about = run.training.record, run.trained_on
    seconds = sum(run.training.history.get("seconds", {}).values())
    scored = run.summary.get("run", {})
    weights = scored.get("weights", {})

    def said(key: str) -> str:
        return _plain_words(about.get(key, UNKNOWN))

    return {
        "folder": str(run.folder),
        "data set": str(about.get("dataset") or run.summary.get("dataset", UNKNOWN)),
        "network": said("network"),
        "objective": said("objective"),
        "presence in training": said("presence_sampling"),
        "trained on datalist": said("datalist"),
        "hash of the datalist": said("datalist_hash"),
        "training cases": said("training_cases"),
        "missing rates": rates_text(run.missing_rates),
        "seed": said("seed"),
        "epoch of the weights": str(record.get("epoch", UNKNOWN)),
        "training time": f"{seconds / 60:.1f} min" if seconds else UNKNOWN,
        "SHA-256 of the weights": str(weights.get("sha256") or record.get("sha256", UNKNOWN)),
        "weights": str(weights.get("path", UNKNOWN)),
        "weights say of themselves": str(weights.get("trained_on", UNKNOWN)),
        "scored": f"{scored['part']} of {scored['datalist']}" if {"part", "datalist"} <= scored.keys() else UNKNOWN,
        "cases scored": str(run.summary.get("cases", 0)),
        "empty masks": str(run.summary.get("policy", "not scored")),
    } | {
        f"scored with {key.replace('_', ' ')}": str(value)
        for key, value in scored.items()
        if key not in ("weights", "datalist", "part", "policy")
    }


def _plain_words(value: Any) -> str:
    """A value of a description: the class of a part first, then its settings."""
    if not isinstance(value, Mapping):
        return str(value)
    words = [f"{name} {_plain_words(item)}" for name, item in value.items() if name != "class"]
    within = f" ({', '.join(words)})" if words else ""
    return f"{value['class']}{within}" if "class" in value else within.strip()


def _training_charts(run: Run, runs: Sequence[Run]) -> Iterator[str]:
    """Loss terms, RP and beta by epoch; RP and beta of all runs have one scale, so that they can be compared."""
    training = run.training
    losses = {name: curve for name, curve in training.history.items() if name not in NOT_A_LOSS}
    if losses:
        chart = charts.lines_svg(losses, title="Loss terms", xlabel="epoch", ylabel="mean over the epoch", log=True)
        yield html.svg_figure(chart, _in_words("Loss terms by epoch", losses))
    for kind, title in (("rp", "Relative preference"), ("beta", "Weight beta of the pixel-wise distillation")):
        curves = training.preference.get(kind)
        if curves:
            every = [other.training.preference[kind] for other in runs if other.training.preference]
            chart = charts.lines_svg(
                curves,
                title=title,
                xlabel="epoch",
                ylabel={"rp": "RP", "beta": "beta"}[kind],
                limits=charts.common_limits(every),
                zero_line=kind == "rp",
            )
            yield html.svg_figure(chart, _in_words(f"{title} by epoch", curves))


def _comparison_charts(settings: Sequence[Setting]) -> Iterator[str]:
    summary = settings[0].runs[0].summary
    for metric in summary["metrics"]:
        heading, limit = METRICS[metric].heading, METRICS[metric].greatest
        groups = {
            setting.name: {
                region: _mean_and_spread(metric, setting.means("mean_over_subsets", metric, region))
                for region in summary["regions"]
            }
            for setting in settings
        }
        title = f"{heading}: mean over subsets"
        text = f"{title}. " + "; ".join(
            f"{name}: " + ", ".join(f"{region} {mean:.1f}" for region, (mean, _) in bars.items())
            for name, bars in groups.items()
        )
        yield html.svg_figure(charts.bars_svg(groups, title=title, xlabel=heading, limit=limit), text)
    for region in summary["regions"] if "dice" in summary["metrics"] else ():
        curves = {}
        for setting in settings:
            counts = {c: setting.means("by_count", c, "dice", region) for c in summary["by_count"]}
            curves[setting.name] = {int(count): _mean_and_spread("dice", values)[0] for count, values in counts.items()}
        title = f"{region}: Dice by number of present modalities"
        chart = charts.lines_svg(
            curves, title=title, xlabel="present modalities", ylabel=METRICS["dice"].heading, markers=True
        )
        yield html.svg_figure(chart, _in_words(title, curves))


def _by_count(summary: Mapping[str, Any], region: str) -> dict[int, float]:
    return {int(count): METRICS["dice"].shown(entry["dice"][region]) for count, entry in summary["by_count"].items()}


def _mean_and_spread(metric: str, values: Sequence[float | None]) -> tuple[float, float]:
    mean, spread = (math.nan if value is None else float(value) for value in mean_cell(metric, values).values)
    return mean, spread


def _in_words(what: str, curves: Mapping[str, Mapping[int, float]]) -> str:
    """A line chart for readers who cannot see it: where every line begins and ends."""
    ends = []
    for name, points in curves.items():
        (first, begin), (last, end) = list(points.items())[0], list(points.items())[-1]
        ends.append(f"{name} {begin:.3g} at {first}, {end:.3g} at {last}")
    return f"{what}. {'; '.join(ends)}."


def _without_training(run: Run) -> str:
    sha256 = run.summary.get("run", {}).get("weights", {}).get("sha256", "")
    return (
        f"No curves: neither {run.folder} nor the folder of the scored weights ({sha256[:16] or 'hash unknown'}) holds "
        f"history.csv and preference.csv of their training. Training writes both to its --output_dir."
    )
