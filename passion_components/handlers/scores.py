"""Scores of every case and subset that an evaluator predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from passion_components.data.errors import CaseError
from passion_components.datasets import DatasetSpec
from passion_components.metrics.book import ScoreBook
from passion_components.metrics.metric import DEFAULT_METRICS, DEFAULT_POLICY
from passion_components.metrics.record import EvaluationRecord
from passion_components.metrics.scores import CaseScores, check_scoring, score_predictions
from passion_components.modalities import subset_name
from passion_components.presence import present_names


class SubsetScoresHandler:
    """Score label maps in the scan's own grid and spacing; put means into ``engine.state.metrics``.

    ``mean_dice`` (and ``mean_hd95``) is the mean over cases, subsets and regions.

    Args:
        spec: data set, for regions and names.
        metrics: which of ``METRICS``.
        policy: name of the rule for empty masks.
        min_region_voxels: region -> voxels below which a prediction of it counts as none.
        record: gets the scores of each case when it is done, and means are over all that it holds; None for means over
            the cases of one epoch.

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
        record: EvaluationRecord | None = None,
    ) -> None:
        self.spec = spec
        self.metrics = tuple(metrics)
        self.policy = policy
        self.min_region_voxels = dict(min_region_voxels or {})
        check_scoring(spec.regions, policy=policy, metrics=metrics, min_region_voxels=self.min_region_voxels)
        self.record = record
        self._of_epoch = self._new_book()

    @property
    def book(self) -> ScoreBook:
        """All scores that the means are of."""
        return self._of_epoch if self.record is None else self.record.book

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.evaluator.SubsetEvaluator`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Begin anew, but for the record."""
        self._of_epoch = self._new_book()

    def collect(self, engine: Engine) -> None:
        """Score the predictions of the cases in the batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            scores = self.score(item, output, engine.state.modalities)
            if self.record is None:
                self.book.add_case(item["case"], scores)
            else:
                self.record.add(item["case"], scores)

    def score(self, item: dict[str, Any], output: dict[str, Any], modalities: Sequence[str]) -> dict[str, CaseScores]:
        """Scores, by name of the subset, of predictions (n, *S) of subsets (n, M) against the reference (1, *S).

        ``modalities`` names the M columns of the subsets.

        Raises:
            CaseError: label and scan differ in size.
            ValueError: predictions that are no label maps, as probabilities without a postprocessing.
        """
        predictions, reference = np.asarray(output["pred"]), np.asarray(item["reference"][0]).astype(np.uint8)
        if predictions.ndim != reference.ndim + 1:
            raise ValueError(
                f"{item['case']}: expected label maps (subsets, {', '.join(map(str, reference.shape))}), got "
                f"{predictions.shape}; give the evaluator a postprocessing that makes them of probabilities"
            )
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
        subsets = [present_names(presence, modalities) for presence in item["subsets"]]
        names = [subset_name(subset, self.spec.modalities) for subset in subsets]
        return dict(zip(names, scores, strict=True))

    def finish(self, engine: Engine) -> None:
        """Put means into the metrics, None where there is no score."""
        scored = any(self.book.counts().values())
        for metric in self.metrics:
            engine.state.metrics[f"mean_{metric}"] = self.book.mean(metric) if scored else None

    def _new_book(self) -> ScoreBook:
        return ScoreBook(dataset=self.spec.name, modalities=self.spec.modalities, policy=self.policy)
