"""The ``passion`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from passion_components import __version__
from passion_components.cli import check, convert_weights, evaluate, phantom, prepare, report, simulate_missing, tables

app = typer.Typer(
    name="passion",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(phantom.app, name="phantom")
app.command("prepare")(prepare.prepare)
app.command("check")(check.check)
app.command("convert-weights")(convert_weights.convert_weights)
app.command("evaluate")(evaluate.evaluate)
app.command("simulate-missing")(simulate_missing.simulate_missing)
app.command("tables")(tables.tables)
app.command("report")(report.report)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"passion {__version__}")
        raise typer.Exit()


@app.callback()
def passion(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Segmentation from any subset of MRI sequences: data for the bundles.

    From nothing to a training set with missing sequences:

        passion phantom brain --cases 40 --out data
        passion simulate-missing data/datalist.json --out data/missing.json \\
            --rates t1=.2,t1ce=.4,flair=.6,t2=.8

    The same with real data:

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data
    """


def main() -> None:
    """Run ``passion``; what is wrong with its input is told in one line, with exit code 1."""
    try:
        app()
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
