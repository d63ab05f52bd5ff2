"""Loss terms of the method, one value per sample or per (sample, modality) pair."""

from passion_components.losses.distillation import DistillationTerms, MultiUniDistillationLoss
from passion_components.losses.segmentation import SegmentationLoss

__all__ = ["DistillationTerms", "MultiUniDistillationLoss", "SegmentationLoss"]
