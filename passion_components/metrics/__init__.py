"""Dice and surface distances of regions, rules for empty masks, and the record of an evaluation."""

from passion_components.metrics.book import ScoreBook, ScoreRow
from passion_components.metrics.empties import EMPTY_POLICIES, EmptyPolicy, empty_policy
from passion_components.metrics.overlap import dice
from passion_components.metrics.scores import METRICS, CaseScores, score_case, score_predictions
from passion_components.metrics.surface import hd95

__all__ = [
    "EMPTY_POLICIES",
    "METRICS",
    "CaseScores",
    "EmptyPolicy",
    "ScoreBook",
    "ScoreRow",
    "dice",
    "empty_policy",
    "hd95",
    "score_case",
    "score_predictions",
]
