"""``passion simulate-missing``: take sequences away from training cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from passion_components.data import missing_rates
from passion_components.datasets import DATASETS, dataset_spec
from passion_components.modalities import all_subsets, subset_name, subset_table


class Method(StrEnum):
    quota = "quota"
    bernoulli = "bernoulli"


def simulate_missing(
    source: Annotated[Path, typer.Argument(metavar="IN.json", help="A datalist; it is only read.")],
    rates: Annotated[str, typer.Option(help="Share of the training cases that lose each sequence: 0 to below 1.")],
    out: Annotated[Path, typer.Option(help="The datalist to write; paths in it are made relative to its folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed takes them from other cases.")] = 1037,
    method: Annotated[
        Method, typer.Option(help="quota: every combination as often as expected; bernoulli: every case on its own.")
    ] = Method.quota,
    dataset: Annotated[str, typer.Option(help=f"Whose sequences: {', '.join(DATASETS)}.")] = "brats2020",
) -> None:
    """Draw, once and before training, which training case lacks which sequence.

    The sequences are taken out of the list only, no image is touched.
    Validation and test cases stay complete, and every training case keeps
    at least one sequence. The rates can stand in any order:

        passion simulate-missing data/datalist.json --out data/missing.json \\
            --rates t1=.2,t1ce=.4,flair=.6,t2=.8
    """
    modalities = dataset_spec(dataset).modalities
    nominal = missing_rates.parse_rates(rates, modalities)
    presence = missing_rates.simulate_missing(source, out, nominal, modalities, seed=seed, method=method.value)
    _print_rates(out, nominal, presence)
    _print_subsets(presence, modalities)


def _print_rates(out: Path, nominal: Mapping[str, float], presence: torch.Tensor) -> None:
    typer.echo(f"{out}: {len(presence)} training cases")
    table = Table()
    table.add_column("sequence")
    for heading in ("missing rate asked for", "realised", "cases with it"):
        table.add_column(heading, justify="right")
    for (name, rate), count in zip(nominal.items(), presence.sum(0).tolist(), strict=True):
        table.add_row(name, f"{rate:.3f}", f"{1 - count / len(presence):.3f}", str(count))
    Console().print(table)


def _print_subsets(presence: torch.Tensor, modalities: Sequence[str]) -> None:
    table = Table()
    table.add_column("what a case has")
    table.add_column("cases", justify="right")
    for subset, row in zip(all_subsets(modalities), subset_table(modalities), strict=True):
        table.add_row(subset_name(subset, modalities), str(int((presence == row).all(1).sum())))
    Console().print(table)
