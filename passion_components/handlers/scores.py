"""Scores of every case and subset that an evaluator predicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from passion_components.data.errors import CaseError
from passion_components.datasets import DatasetSpec
from passion_components.metrics.book import ScoreBook
from passion_components.metrics.empties import DEFAULT_POLICY
from passion_components.metrics.scores import DEFAULT_METRICS, check_scoring, score_predictions
from passion_components.modalities import present_names


class SubsetScoresHandler:
    """Score label maps in the scan's own grid and spacing; put means into ``engine.state.metrics``.

    ``mean_dice`` (and ``mean_hd95``) is the mean over cases, subsets and regions. With ``output_dir`` the record is
    written there at the end: ``metrics.csv`` and ``summary.json``.

    Args:
        spec: data set, for regions and names.
        metrics: which of ``METRICS``.
        policy: name of the rule for empty masks.
        min_region_voxels: region -> voxels below which a prediction of it counts as none.
        output_dir: where to write, or None to write nothing.

    Raises:
        ValueError: a metric, policy or region that does not exist.
    """

    def __init__(
        self,
        *,
        spec: DatasetSpec,
        metrics: Sequence[str] = DEFAULT_METRICS,
        policy: str = DEFAULT_POLICY,
        min_region_voxels: Mapping[str, int] | None = None,
        output_dir: Path | str | None = None,
    ) -> None:
        self.spec = spec
        self.metrics = tuple(metrics)
        self.policy = policy
        self.min_region_voxels = dict(min_region_voxels or {})
        check_scoring(spec.regions, policy=policy, metrics=metrics, min_region_voxels=self.min_region_voxels)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.book = self._new_book()

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.evaluator.SubsetEvaluator`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Begin a new record."""
        self.book = self._new_book()

    def collect(self, engine: Engine) -> None:
        """Score the predictions of the cases in the batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.score(item, output)

    def score(self, item: dict[str, Any], output: dict[str, Any]) -> None:
        """Score one case: predictions (n, *S) of the subsets (n, M) against the reference (1, *S).

        Raises:
            CaseError: label and scan differ in size.
        """
        predictions, reference = np.asarray(output["pred"]), np.asarray(item["reference"][0]).astype(np.uint8)
        if predictions.shape[1:] != reference.shape:
            raise CaseError(f"{item['case']}: label {reference.shape} and scan {predictions.shape[1:]} differ in size")
        spacing = np.linalg.norm(np.asarray(item["image"].meta["original_affine"])[:3, :3], axis=0)
        scores = score_predictions(
            predictions,
            reference,
            self.spec.regions,
            spacing.tolist(),
            policy=self.policy,
            metrics=self.metrics,
            min_region_voxels=self.min_region_voxels,
        )
        for presence, of_subset in zip(item["subsets"], scores, strict=True):
            self.book.add(item["case"], present_names(presence, self.spec.modalities), *of_subset)

    def finish(self, engine: Engine) -> None:
        """Put means into the metrics and write the record."""
        for metric in self.metrics:
            engine.state.metrics[f"mean_{metric}"] = self.book.mean(metric)
        if self.output_dir is None:
            return
        run = {"weights": dataclasses.asdict(engine.state.weights)}
        self.book.write_csv(self.output_dir / "metrics.csv")
        self.book.write_json(self.output_dir / "summary.json", run)

    def _new_book(self) -> ScoreBook:
        return ScoreBook(dataset=self.spec.name, modalities=self.spec.modalities, policy=self.policy)
