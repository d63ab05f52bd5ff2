"""All cases of a run on one HTML page, which needs no network and runs no scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from passion_components.data.outputs import check_replaceable
from passion_components.datasets import DatasetSpec
from passion_components.files import write_text_atomically
from passion_components.predict.facts import read_facts
from passion_components.predict.slices import frames_of
from passion_components.reports.figures import COLOURS
from passion_components.reports.page import html

TITLE = "Predictions of passion predict"
"""Stands at the head of every such page."""


def write_page(path: Path, output_dir: Path, cases: Sequence[Mapping[str, str]], spec: DatasetSpec) -> None:
    """Write the page of the cases that are done: slices to scroll through, volumes, warnings, what to expect.

    Args:
        path: of the page.
        output_dir: where the predictions lie.
        cases: ``case`` and sequences with their files.
        spec: the data set.

    Raises:
        UserError: a file lies at ``path`` that this program did not write.
    """
    check_replaceable(path, TITLE)
    done = [(case, facts) for case in cases if (facts := read_facts(output_dir, case["case"])) is not None]
    parts = [
        html.heading(1, TITLE),
        html.paragraph(
            "Research only, not for diagnosis. This page shows patients: treat it as you treat their images.", "missing"
        ),
        html.contents([(facts["case"], f"case-{index}") for index, (_, facts) in enumerate(done)]),
    ]
    for index, (case, facts) in enumerate(done):
        parts += _case(f"case-{index}", case, facts, output_dir, spec)
    write_text_atomically(path, html.page(TITLE, parts))


def _case(
    anchor: str, files: Mapping[str, str], facts: Mapping[str, Any], output_dir: Path, spec: DatasetSpec
) -> Iterable[str]:
    case, used = facts["case"], facts["used"]
    yield html.heading(2, case, anchor)
    for warning in facts["warnings"]:
        yield html.paragraph(warning, "missing")
    regions = {
        region: [f"{found['millilitres']:.1f} ml", str(found["components"]), _expected(facts, region)]
        for region, found in facts["regions"].items()
    }
    columns = ["volume", "connected components", "Dice to expect"]
    yield html.text_table(f"Regions of {case}", columns, list(regions.items()))
    try:
        coded = spec.with_scheme(facts["settings"]["label_scheme"])
        label_map = output_dir / case / facts["label_map"]
        moved = {name: found["matrix"] for name, found in facts["aligned"].items()}
        frames, best = frames_of(case, {name: files[name] for name in used}, label_map, coded, moved)
    except (ValueError, OSError) as error:
        yield html.paragraph(f"no pictures: {error}", "missing")
    else:
        legend = list(zip(spec.regions, COLOURS, strict=False))
        yield html.slice_stack(anchor, ", ".join(used), frames, best, legend)
    files_told = "; ".join(f"{name}: {scan['file']}" for name, scan in facts["scans"].items())
    yield html.paragraph(
        f"{files_told}. Bundle {facts['bundle']['name']} {facts['bundle']['version']}, weights "
        f"{facts['weights']['sha256'][:12]}, trained on {facts['weights']['trained_on']}; {facts['written_by']}.",
        "note",
    )


def _expected(facts: Mapping[str, Any], region: str) -> str:
    expected = facts["expected"]
    if expected is None or region not in expected["dice"]:
        return "not known"
    return f"{expected['dice'][region]:.2f} ({expected['subset']}, {expected['n']} cases of {expected['data']})"
