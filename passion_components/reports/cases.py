"""Pictures of cases: the image, the reference and what runs predicted from chosen subsets of modalities."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.lists.datalist import Datalist
from passion_components.data.reading.grid import check_one_grid
from passion_components.data.reading.volumes import read_label_map, read_volume
from passion_components.datasets import DatasetSpec, dataset_spec
from passion_components.modalities import subset_name
from passion_components.reports import slices
from passion_components.reports.charts import style
from passion_components.reports.figures import Panel, case_rows
from passion_components.reports.runs import Run


class NoPictures(ValueError):
    """Why there is nothing to draw; the message is for the reader of a report."""


@dataclass(frozen=True)
class CasePicture:
    """A picture of one case.

    Attributes:
        case: its name.
        rank: why it was chosen: ``best``, ``median`` or ``worst``.
        dice: mean Dice over runs, chosen subsets and regions.
        text: what is to be seen, for readers who cannot.
        png: the picture.
        columns: how many panels stand side by side.
    """

    case: str
    rank: str
    dice: float
    text: str
    png: bytes
    columns: int


def case_pictures(runs: Sequence[Run], spec: DatasetSpec | None = None) -> tuple[list[CasePicture], list[str]]:
    """Pictures of the best, the median and the worst case, and a line for each of them that could not be drawn.

    Args:
        runs: at least one, of one data set; each gets a column of predictions.
        spec: the data set; None looks for the one that the evaluated datalist names.

    Raises:
        NoPictures: no predictions, or the evaluated images are not known.
    """
    subsets = chosen_subsets(runs[0].summary)
    ranked = ranked_cases(runs, subsets)
    if not ranked:
        raise NoPictures(
            f"No case has predictions of {' and '.join(run.name for run in runs)} from {' and '.join(subsets)}: "
            f"run evaluating with --save_predictions True, which writes them to predictions/ in the run's folder."
        )
    spec, files = _evaluated_files(runs[0], spec)
    pictures, failures = [], []
    for case, rank in best_median_worst(ranked).items():
        try:
            pictures.append(_DrawnCase(case, runs, subsets, spec, files.get(case, {})).picture(rank, ranked[case]))
        except (ValueError, OSError) as error:
            failures.append(str(error))
    return pictures, failures


def chosen_subsets(summary: Mapping[str, Any]) -> list[str]:
    """All modalities together, the best single one and the worst, by mean Dice over cases and regions.

    Subsets that no case has are left out.
    """
    means = {}
    for subset, entry in summary["subsets"].items():
        values = [value for value in entry.get("dice", {}).values() if value is not None]
        if values:
            means[subset] = math.fsum(values) / len(values)
    singles = sorted((subset for subset in means if "+" not in subset), key=lambda subset: -means[subset])
    everything = subset_name(summary["modalities"], summary["modalities"])
    return [subset for subset in dict.fromkeys((everything, *singles[:1], *singles[-1:])) if subset in means]


def ranked_cases(runs: Sequence[Run], subsets: Sequence[str]) -> dict[str, float]:
    """Mean Dice over runs, subsets and regions of the cases that every run has predicted from all subsets, best first.

    Where no case has all of them, the cases that have the first one.
    """
    for wanted in (subsets, subsets[:1]):
        values: dict[str, list[float]] = {}
        for run in runs:
            for key, score in run.scores.items():
                if key.metric == "dice" and key.subset in wanted and score == score:
                    values.setdefault(key.case, []).append(score)
        means = {
            case: math.fsum(scores) / len(scores)
            for case, scores in values.items()
            if all(_prediction(run, case, subset).is_file() for run in runs for subset in wanted)
        }
        if means:
            return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
    return {}


def best_median_worst(ranked: Mapping[str, float]) -> dict[str, str]:
    """Case -> ``best``, ``median`` or ``worst`` of cases in order, best first; without a median where there are two."""
    names = list(ranked)
    if len(names) < 3:
        return dict(zip(names, ("best", "worst"), strict=False))
    return {names[0]: "best", names[len(names) // 2]: "median", names[-1]: "worst"}


def _prediction(run: Run, case: str, subset: str) -> Path:
    return run.predictions / case / f"{case}_{subset}_seg.nii.gz"


def _evaluated_files(run: Run, spec: DatasetSpec | None) -> tuple[DatasetSpec, dict[str, dict[str, str]]]:
    """The data set, and by case the files that were evaluated."""
    about = run.summary["run"]
    if not isinstance(about.get("datalist"), str) or not isinstance(about.get("part"), str):
        raise NoPictures(f"{run.folder}/summary.json does not name the evaluated datalist: run evaluating again.")
    try:
        datalist = Datalist(about["datalist"])
        named = spec or datalist.dataset()
        if named is None or named.name != run.summary["dataset"]:
            named = dataset_spec(run.summary["dataset"])
        spec = named.with_scheme(about.get("label_scheme"))
        cases = datalist.cases(about["part"], spec.modalities)
    except (ValueError, OSError) as error:
        raise NoPictures(f"The evaluated images cannot be found: {error}") from None
    return spec, {case["case"]: case for case in cases}


class _DrawnCase:
    """One case, upright: images, reference and predictions (X, Y, Z), in the slice with most of the reference."""

    def __init__(
        self, case: str, runs: Sequence[Run], subsets: Sequence[str], spec: DatasetSpec, files: Mapping[str, str]
    ) -> None:
        self.case, self.runs, self.spec = case, runs, spec
        self.subsets = [name for name in subsets if all(_prediction(run, case, name).is_file() for run in runs)]
        self.shown = {name: name.split("+")[0] for name in self.subsets}
        for name in {"label", *self.shown.values()} - files.keys():
            raise CaseError(f"{case}: the evaluated datalist lists no {name} for it; expected the list that was scored")
        volumes = {name: read_volume(files[name], case=case) for name in self.shown.values()}
        label = read_label_map(files["label"], case=case)
        predictions = {
            (subset, index): read_volume(_prediction(run, case, subset), case=case)
            for subset in self.subsets
            for index, run in enumerate(runs)
        }
        grids = [volume.grid for volume in (label, *volumes.values(), *predictions.values())]
        check_one_grid(grids, case=case, remedy="run evaluating again, with the images as they are now")
        self.reference, self.spacing = slices.upright(label, spec)
        self.images = {name: slices.upright(volume, spec)[0] for name, volume in volumes.items()}
        self.predictions = {key: slices.upright(volume, spec)[0] for key, volume in predictions.items()}
        self.z = slices.slice_with_most([self.reference, *self.predictions.values()])

    @cached_property
    def foreground(self) -> dict[str, np.ndarray]:
        return {name: slices.foreground(image, self.spec) for name, image in self.images.items()}

    @cached_property
    def box(self) -> tuple[slice, slice]:
        labels = (self.reference, *self.predictions.values())
        tissue = [mask[..., self.z] for mask in self.foreground.values()]
        return slices.bounding_box([*tissue, *(array[..., self.z] > 0 for array in labels)])

    def picture(self, rank: str, dice: float) -> CasePicture:
        """The picture with a row a subset: an image of the subset, the reference, a prediction of every run."""
        with style():
            png = io.BytesIO()
            rows = [(f"given: {subset}", self.panels(subset)) for subset in self.subsets]
            case_rows(rows).savefig(png, format="png", dpi=130, metadata={"Software": None})
        scores = "; ".join(
            f"{run.name} from {subset}: mean Dice {100 * self.dice(run, subset):.1f} %"
            for subset in self.subsets
            for run in self.runs
        )
        text = (
            f"Slice {self.z + 1} of {self.reference.shape[2]} of case {self.case}, a row for each of "
            f"{', '.join(self.subsets)}: image, reference contours, predicted contours of "
            f"{', '.join(self.spec.regions)}. {scores}."
        )
        return CasePicture(self.case, rank, dice, text, png.getvalue(), 2 + len(self.runs))

    def panels(self, subset: str) -> list[Panel]:
        """Image, reference and predictions of one subset."""
        modality = self.shown[subset]
        panels = [self.panel(modality, modality, None), self.panel("reference", modality, self.reference)]
        for index, run in enumerate(self.runs):
            title = f"{run.name}, Dice {100 * self.dice(run, subset):.1f} %"
            panels.append(self.panel(title, modality, self.predictions[subset, index]))
        return panels

    def panel(self, title: str, modality: str, labels: np.ndarray | None) -> Panel:
        """The slice of an image with the contours of a label map, if there is one."""
        image, spacing = self.images[modality], self.spacing
        masks = {} if labels is None else slices.region_masks(labels[..., self.z][self.box], self.spec)
        window = slices.window(image, self.foreground[modality])
        return Panel(title, image[..., self.z][self.box], masks, window, spacing[1] / spacing[0])

    def dice(self, run: Run, subset: str) -> float:
        """Mean over regions, as a share of 1; NaN where no region has a score."""
        values = [
            score
            for key, score in run.scores.items()
            if (key.case, key.subset, key.metric) == (self.case, subset, "dice") and score == score
        ]
        return math.fsum(values) / len(values) if values else math.nan
