"""Windows that show nothing, which need not be computed again and again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class BackgroundOnce:
    """A predictor that computes background once.

    In windows of background every channel has one value. A call with nothing else in it is answered with what the same
    call gave before, which changes no bit of the result; the last such answer is kept.

    Args:
        predictor: windows (w, C, *roi) to (w, K, *roi), the same for the same windows.
    """

    def __init__(self, predictor: Callable[[Tensor], Tensor]) -> None:
        self.predictor = predictor
        self._values: Tensor | None = None
        self._answer: Tensor | None = None

    def __call__(self, windows: Tensor) -> Tensor:
        values = windows.flatten(2)[..., :1]
        if not (windows.flatten(2) == values).all():
            return self.predictor(windows)
        if self._answer is None or self._values is None or not torch.equal(values, self._values):
            self._values, self._answer = values.clone(), self.predictor(windows)
        return self._answer.clone()
