"""``passion check``: read all of a data set before a training does."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from passion_components.cli.options import DatasetOption, dataset_for
from passion_components.cli.prepare import print_parts
from passion_components.cli.progress import progress
from passion_components.data.checks.report import Report, check_datalist
from passion_components.data.lists.datalist import Datalist
from passion_components.data.outputs import check_replaceable
from passion_components.files import write_text_atomically
from passion_components.transforms.foreground import foreground_rule, has_contrast

app = typer.Typer()


@app.command()
def check(
    datalist: Annotated[Path, typer.Argument(metavar="DATALIST", help="datalist.json; only read, like its files.")],
    dataset: DatasetOption = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", show_default=False, help="Write all findings to this file, with facts of every file."),
    ] = None,
    resample_to: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            metavar="SEQUENCE",
            help="As for training: files of a case on other grids than that of this sequence are no error.",
        ),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, show_default="one per core", help="Number of processes.")] = None,
) -> None:
    """Read every file of every case and report what is wrong, before training fails on it.

    Exit code 1 if something would break training or make its scores wrong, 0 if there are only warnings:

        passion check data/datalist.json

        passion check hearts/datalist.json --dataset myops2020 --json report.json
    """
    listed = Datalist(datalist)
    spec = dataset_for(dataset, listed)
    if json_file is not None:
        check_replaceable(json_file, '"findings": [')
    with progress("checking") as update:
        report = check_datalist(
            listed,
            spec,
            has_contrast=partial(has_contrast, foreground=foreground_rule(spec.foreground)),
            jobs=jobs or os.cpu_count() or 1,
            progress=lambda done, total: update(completed=done, total=total),
            resample_to=resample_to,
        )
    if json_file is not None:
        write_text_atomically(json_file, json.dumps(report.as_json(), indent=2) + "\n")
    print_parts(datalist, listed.parts(spec.modalities), spec.modalities)
    _print_report(report)
    if report.count("error"):
        raise typer.Exit(1)


def _print_report(report: Report) -> None:
    if report.missing_rates:
        rates = ", ".join(f"{name} {rate:.3f}" for name, rate in report.missing_rates.items())
        typer.echo(f"missing rates in training: {rates}")
    if report.findings:
        table = Table()
        for heading in ("severity", "finding"):
            table.add_column(heading)
        table.add_column("cases", justify="right")
        for kind, findings in report.by_kind().items():
            cases = {(case.part, case.name) for finding in findings for case in finding.cases}
            table.add_row(kind.severity, kind.title, str(len(cases)))
        Console().print(table)
    for finding in report.findings:
        typer.echo(f"{finding.kind.severity}: {finding.message}")
    files = sum(len(case.files) for case in report.cases)
    typer.echo(
        f"{len(report.cases)} cases, {files} files: errors: {report.count('error')}, "
        f"warnings: {report.count('warning')}"
    )
