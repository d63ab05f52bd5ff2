"""``passion report``: one HTML file about runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passion_components.cli.options import DatasetOption
from passion_components.datasets import dataset_spec
from passion_components.reports.report import write_report
from passion_components.reports.runs import read_runs

app = typer.Typer()


@app.command()
def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of training or evaluating, each as DIR or NAME=DIR."),
    ],
    out: Annotated[Path, typer.Option(help="The HTML file; an older one is replaced.")],
    dataset: DatasetOption = None,
) -> None:
    """Write curves, scores and pictures of runs into one HTML file.

    It needs no internet connection and no other file. Pictures of cases need predictions,
    which evaluating keeps with --save_predictions True:

        passion report bundles/brats2020_rfnet/output --out report.html

    Several runs are compared; differences are to the first one:

        passion report baseline=runs/b PASSION=runs/p --out report.html
    """
    spec = None if dataset is None else dataset_spec(dataset)
    write_report(out, read_runs(runs), spec)
    typer.echo(f"written: {out}")
