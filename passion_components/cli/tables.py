"""``passion tables``: scores of several runs in the layouts of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passion_components.cli.options import DatasetOption
from passion_components.data.outputs import check_replaceable
from passion_components.datasets import dataset_spec
from passion_components.files import write_text_atomically
from passion_components.reports.cells import csv_text, markdown
from passion_components.reports.comparable import check_comparable, check_dataset, remarks, unknown_repetitions
from passion_components.reports.comparison import settings_of
from passion_components.reports.layouts import comparison_tables
from passion_components.reports.runs import read_runs

app = typer.Typer()


@app.command()
def tables(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Folders that evaluating wrote to, each as DIR or NAME=DIR.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Folder for tables.md and one CSV per table; default: print Markdown."),
    ] = None,
    dataset: DatasetOption = None,
) -> None:
    """Tabulate the scores of several runs, like Tables 1 to 3 of the paper.

    Runs of one NAME, or trained alike but for the seed, are one setting: mean
    and standard deviation over runs. Runs that were scored differently are refused;
    where only settings of the prediction differ, a note says so. Differences are to the first
    setting, on the same cases and subsets:

        passion tables baseline=runs/b0 baseline=runs/b1 PASSION=runs/p0 \\
            PASSION=runs/p1 --out tables
    """
    spec = None if dataset is None else dataset_spec(dataset)
    read = read_runs(runs)
    check_dataset(read, spec)
    check_comparable(read)
    settings = settings_of(read)
    for note in (*remarks(read), *(note for setting in settings for note in unknown_repetitions(setting.runs))):
        typer.echo(f"note: {note}", err=True)
    made = comparison_tables(settings)
    text = "\n".join(markdown(table) for table in made)
    if out is None:
        typer.echo(text)
        return
    check_replaceable(out / "tables.md", "(layout of Table ")
    for table in made:
        check_replaceable(out / f"{table.name}.csv", ",".join(c.parts[0] for c in table.columns[: table.labels]))
    write_text_atomically(out / "tables.md", text)
    for table in made:
        write_text_atomically(out / f"{table.name}.csv", csv_text(table))
    typer.echo(f"written to {out}: tables.md, {', '.join(f'{table.name}.csv' for table in made)}")
