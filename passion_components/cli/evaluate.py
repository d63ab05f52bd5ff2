"""``passion evaluate``: scores of label maps that any tool has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passion_components.cli.progress import progress
from passion_components.data.outputs import check_replaceable
from passion_components.datasets import DATASETS, dataset_spec
from passion_components.engines.failures import try_folder
from passion_components.files import write_text_atomically
from passion_components.metrics.book import CSV_MARK, SUMMARY_MARK
from passion_components.metrics.label_maps import pair_label_maps, score_pairs
from passion_components.metrics.metric import DEFAULT_METRICS, DEFAULT_POLICY, EMPTY_POLICIES, METRICS
from passion_components.reports.tables import TABLE_MARK, region_table_markdown

OfDatasetOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE.json",
        help=f"The data set whose label codes and regions apply: {', '.join(DATASETS)}, or the JSON file of another.",
    ),
]

app = typer.Typer()


@app.command()
def evaluate(
    pred: Annotated[Path, typer.Option(help="Folder with predicted label maps; only read.")],
    label: Annotated[Path, typer.Option(help="Folder with the true label maps; only read.")],
    dataset: OfDatasetOption,
    out: Annotated[
        Path | None, typer.Option(show_default=False, help="Folder for metrics.csv, summary.json and table.md.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help=f"What a mask without voxels scores: {', '.join(EMPTY_POLICIES)}.")
    ] = DEFAULT_POLICY,
    label_scheme: Annotated[
        str | None, typer.Option(show_default=False, help="Label scheme of the files, if not the data set's own.")
    ] = None,
    metrics: Annotated[str, typer.Option(help=f"Any of {','.join(METRICS)}.")] = ",".join(DEFAULT_METRICS),
) -> None:
    """Score the label maps of any tool as the bundles' evaluation scores its own.

    Files are paired by case, at any depth: <case>.nii.gz, <case>_seg.nii.gz or
    another word of the data set for label maps. Both files of a case must lie on
    one grid. Labels without a prediction enter no mean and are named below the table.

        passion evaluate --pred DIR --label DIR --dataset brats2020
    """
    spec = dataset_spec(dataset).with_scheme(label_scheme)
    if out is not None:
        for name, mark in (("metrics.csv", CSV_MARK), ("summary.json", SUMMARY_MARK), ("table.md", TABLE_MARK)):
            check_replaceable(out / name, mark)
    pairs = pair_label_maps(pred, label, spec.label_words)
    if pairs.without_label:
        typer.echo(f"note: not scored, in {pred} only: {', '.join(pairs.without_label)}", err=True)
    if out is not None:
        try_folder(out)
    names = [name.strip() for name in metrics.split(",")]
    with progress("scoring", len(pairs.files)) as update:
        book, failures = score_pairs(pairs, spec, policy=policy, metrics=names, progress=lambda: update(advance=1))
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    if len(failures) < len(pairs.files):
        run = {
            "predictions": str(pred.absolute()),
            "labels": str(label.absolute()),
            "unpredicted": pairs.unpredicted,
        }
        table = region_table_markdown(book.summary(run))
        typer.echo(table, nl=False)
        if out is not None:
            book.write_csv(out / "metrics.csv")
            book.write_json(out / "summary.json", run)
            write_text_atomically(out / "table.md", table)
    if pairs.unpredicted:
        total = len(pairs.files) + len(pairs.unpredicted)
        cases = ", ".join(pairs.unpredicted)
        typer.echo(
            f"warning: {len(pairs.unpredicted)} of {total} labels have no prediction and are in no mean: {cases}",
            err=True,
        )
    if failures:
        raise ValueError(f"{len(pairs.files) - len(failures)} of {len(pairs.files)} cases scored, see above")
