"""``passion simulate-missing``: take sequences away from training cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from passion_components.cli.options import DatasetOption, dataset_for
from passion_components.data.lists import missing_rates
from passion_components.data.lists.datalist import Datalist
from passion_components.modalities import all_subsets, subset_name


class Method(StrEnum):
    quota = "quota"
    bernoulli = "bernoulli"


app = typer.Typer()


@app.command()
def simulate_missing(
    source: Annotated[Path, typer.Argument(metavar="IN.json", help="A datalist; it is only read.")],
    out: Annotated[Path, typer.Option(help="The datalist to write; paths in it are made relative to its folder.")],
    rates: Annotated[
        str | None,
        typer.Option(show_default=False, help="Share of the training cases that lose each sequence: 0 to below 1."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Instead of rates: a BraTS split file of the released PASSION code."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed removes sequences from other cases.")] = 1037,
    method: Annotated[
        Method, typer.Option(help="quota: every combination as often as expected; bernoulli: every case on its own.")
    ] = Method.quota,
    dataset: DatasetOption = None,
) -> None:
    """Draw, once and before training, which training case lacks which sequence.

    Sequences are removed from the list only; no image is touched.
    Validation and test cases stay complete, and every training case keeps
    at least one sequence. The rates can stand in any order:

        passion simulate-missing data/datalist.json --out data/missing.json \\
            --rates t1=.2,t1ce=.4,flair=.6,t2=.8

    From a split file of the released PASSION code:

        passion simulate-missing data/datalist.json --out data/missing.json \\
            --masks BraTS2020_imb_split_mr2468.csv
    """
    listed = Datalist(source)
    modalities = dataset_for(dataset, listed).modalities
    if (rates is None) == (masks is None):
        raise ValueError("expected either --rates or --masks; give one of them")
    nominal: Mapping[str, float] = {}
    if masks is not None:
        presence = missing_rates.apply_released_masks(listed, out, masks, modalities)
    else:
        nominal = missing_rates.parse_rates(str(rates), modalities)
        presence = missing_rates.simulate_missing(listed, out, nominal, modalities, seed=seed, method=method.value)
    _print_rates(out, nominal, modalities, presence)
    _print_subsets(presence, modalities)


def _print_rates(out: Path, nominal: Mapping[str, float], modalities: Sequence[str], presence: np.ndarray) -> None:
    typer.echo(f"{out}: {len(presence)} training cases")
    table = Table()
    table.add_column("sequence")
    for heading in ("missing rate asked for", "realised", "cases with it"):
        table.add_column(heading, justify="right")
    for name, count in zip(modalities, presence.sum(0).tolist(), strict=True):
        asked = f"{nominal[name]:.3f}" if name in nominal else "-"
        table.add_row(name, asked, f"{1 - count / len(presence):.3f}", str(count))
    Console().print(table)


def _print_subsets(presence: np.ndarray, modalities: Sequence[str]) -> None:
    table = Table()
    table.add_column("what a case has")
    table.add_column("cases", justify="right")
    for subset in all_subsets(modalities):
        row = [name in subset for name in modalities]
        table.add_row(subset_name(subset, modalities), str(int((presence == row).all(1).sum())))
    Console().print(table)
