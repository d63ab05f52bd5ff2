"""Metrics of regions, and the record of an evaluation."""

from passion_components.metrics.book import ScoreBook, ScoreRow
from passion_components.metrics.metric import EMPTY_POLICIES, METRICS, Metric
from passion_components.metrics.scores import CaseScores, score_case, score_predictions

__all__ = [
    "EMPTY_POLICIES",
    "METRICS",
    "CaseScores",
    "Metric",
    "ScoreBook",
    "ScoreRow",
    "score_case",
    "score_predictions",
]
