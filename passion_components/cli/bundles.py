"""``passion bundles``: which bundles are there, and which can be had."""

from __future__ import annotations

from collections.abc import Mapping

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from passion_components.cli.source_option import SourceOption, source_for
from passion_components.data.errors import UserError
from passion_components.hub.facts import BundleFacts, facts_of, mean_dice
from passion_components.hub.install import bundles_folder, installed_bundles

app = typer.Typer()


@app.command()
def bundles(source: SourceOption = None) -> None:
    """List the bundles that were downloaded and, with a source, those that can be had.

    Dice is the mean over all subsets of the sequences and over regions, on the n cases that the
    bundle was tested with; bundles of different data sets do not compare.

        passion bundles --from dist
    """
    found: dict[str, BundleFacts] = {}
    for folder in installed_bundles():
        try:
            found[folder.name] = facts_of(folder)
        except UserError as error:
            typer.echo(f"warning: {error}", err=True)
    typer.echo(f"in {bundles_folder()}:{'' if found else ' none'}")
    _print_table(found)
    if source is not None:
        there = source_for(source)
        index = there.index()
        typer.echo(f"from {there.where}:{'' if index else ' none'}")
        _print_table(index)


def _print_table(found: Mapping[str, BundleFacts]) -> None:
    if not found:
        return
    table = Table("bundle", "version", "network and data set", "weights", "Dice")
    table.columns[0].no_wrap = True
    for name, facts in sorted(found.items()):
        dice = f"{mean_dice(facts.scores):.3f} (n = {facts.scores['cases']})" if facts.scores else ""
        table.add_row(*map(Text, (name, facts.version, facts.title, "yes" if facts.weights else "no", dice)))
    Console().print(table)
