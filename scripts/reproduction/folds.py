"""Cross-validation: cases dealt out over folds, and the datalist of every fold with its missing sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from passion_components.data.lists.datalist import Datalist, write_datalist
from passion_components.data.lists.missing_rates import simulate_missing
from passion_components.datasets import DatasetSpec
from reproduction.grid import Study

SEED = 0


def deal(names: Sequence[str], folds: int) -> list[list[str]]:
    """Names in ``folds`` parts of nearly equal size, the cases of each site spread over all of them.

    The site is what stands before the last two underscores (``TCGA_CS`` of ``TCGA_CS_4941_19960909``). The outcome
    depends on the names alone.
    """
    random = np.random.default_rng(SEED)
    by_site: dict[str, list[str]] = {}
    for name in sorted(names):
        by_site.setdefault(name.rsplit("_", 2)[0], []).append(name)
    order = [by_site[site][place] for site in sorted(by_site) for place in random.permutation(len(by_site[site]))]
    return [sorted(order[fold::folds]) for fold in range(folds)]


def fold_datalist(source: Path, out: Path, study: Study, spec: DatasetSpec, fold: int) -> Path:
    """Write the datalist of one fold: its cases are the part test, all others training, with ``study.rates`` drawn.

    Args:
        source: datalist of all cases, whatever its parts.
        out: the file to write; one beside it holds the complete list of the fold.
        study: gives folds and rates.
        spec: the data set.
        fold: counted from 0; the seed of the draw too.

    Returns:
        ``out``.
    """
    listed = Datalist(source)
    cases = {case["case"]: case for part in listed.parts(spec.modalities).values() for case in part}
    test = deal(list(cases), study.folds)[fold]
    parts: Mapping[str, list[dict[str, str]]] = {
        "training": [cases[name] for name in sorted(cases) if name not in test],
        "validation": [],
        "test": [cases[name] for name in test],
    }
    complete = out.with_name(f"complete_{out.name}") if study.rates else out
    write_datalist(complete, parts, label_scheme=listed.label_scheme, dataset=spec)
    if study.rates:
        simulate_missing(Datalist(complete), out, study.rates, spec.modalities, seed=fold)
    return out
