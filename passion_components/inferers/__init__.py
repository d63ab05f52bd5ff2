"""How networks that take any subset of modalities are called: over sliding windows, and beside a moving average."""

from passion_components.inferers.averaged_teacher import AveragedTeacherInferer
from passion_components.inferers.modality_aware import ModalityAwareInferer

__all__ = ["AveragedTeacherInferer", "ModalityAwareInferer"]
