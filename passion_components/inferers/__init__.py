"""Sliding windows for networks that take any subset of modalities."""

from passion_components.inferers.modality_aware import ModalityAwareInferer

__all__ = ["ModalityAwareInferer"]
