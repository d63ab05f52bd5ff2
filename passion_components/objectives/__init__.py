"""Training objectives: all paths of a batch in, a loss and its named terms out."""

from passion_components.objectives.base import Objective
from passion_components.objectives.baseline import BaselineObjective
from passion_components.objectives.passion import PassionObjective
from passion_components.objectives.pmr import PMRObjective
from passion_components.objectives.released import ReleasedObjective

__all__ = ["BaselineObjective", "Objective", "PMRObjective", "PassionObjective", "ReleasedObjective"]
