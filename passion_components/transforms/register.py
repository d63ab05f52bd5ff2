"""Sequences that lie askew to each other, loaded aligned to one of them."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Any

from passion_components.data.errors import CaseError, UserError
from passion_components.data.reading.image_files import shown_name
from passion_components.data.reading.registration import align, check_can_register
from passion_components.data.reading.volumes import Volume
from passion_components.transforms.foreground import has_contrast
from passion_components.transforms.load import LoadModalitiesd, finite

logger = logging.getLogger(__name__)


def check_register_to(register_to: str | None, resample_to: str | None) -> None:
    """Refuse to align sequences where that cannot be.

    Raises:
        UserError: elastix is not installed, or sequences should be resampled without being aligned as well.
    """
    if register_to is None:
        return
    if resample_to is not None:
        raise UserError(
            f"--register-to {register_to} with --resample-to {resample_to}: aligned sequences come to one grid anyway; "
            f"leave --resample-to out"
        )
    check_can_register()


def loading(
    modalities: Sequence[str], *, register_to: str | None = None, resample_to: str | None = None, **settings: Any
) -> LoadModalitiesd:
    """What loads the sequences of a case: aligned to ``register_to``, or where their headers place them.

    Raises:
        ValueError: as of the two classes.
        UserError: as :func:`check_register_to`.
    """
    check_register_to(register_to, resample_to)
    if register_to is None:
        return LoadModalitiesd(modalities, resample_to=resample_to, **settings)
    return RegisterModalitiesd(modalities, register_to=register_to, **settings)


class RegisterModalitiesd(LoadModalitiesd):
    """As :class:`LoadModalitiesd`, with the sequences aligned rigidly to one of them, on whose grid all are then.

    How far each was moved, and how well it fits, is logged and kept under ``aligned``: sequence -> the attributes of an
    :class:`~passion_components.data.reading.registration.Alignment`. Labels must lie on the grid of the sequence that
    the others are aligned to. A case of one sequence stays as it is.

    Args:
        modalities: names of the M modalities.
        register_to: the one that the others are aligned to.
        foreground: name of a foreground rule.
        allow_copies: whether a copy of another sequence counts as present; False refuses it.

    Raises:
        ValueError: as of :class:`LoadModalitiesd`, or an unknown modality to align to.
        CaseError: when called: as there; the sequence to align to is absent or constant; no place found for another.
    """

    def __init__(
        self, modalities: Sequence[str], *, register_to: str, foreground: str = "nonzero", allow_copies: bool = False
    ) -> None:
        super().__init__(modalities, foreground=foreground, allow_copies=allow_copies)
        if register_to not in modalities:
            raise ValueError(f"register_to must be one of {', '.join(modalities)}, got {register_to!r}")
        self.register_to = register_to

    def _on_one_grid(self, volumes: dict[str, Volume], out: dict[Hashable, Any], case: str) -> Volume:
        out["aligned"] = {}
        if len(volumes) == 1:
            return super()._on_one_grid(volumes, out, case)
        reference = volumes.get(self.register_to)
        if reference is None:
            raise CaseError(
                f"{case}: {self.register_to}, to which its sequences should be aligned, is absent; accepted: "
                f"{', '.join(volumes)}"
            )
        channels = {name: finite(volume, case) for name, volume in volumes.items()}
        contrast = [name for name, channel in channels.items() if has_contrast(channel, self.foreground)]
        if self.register_to not in contrast:
            raise CaseError(
                f"{case}: {shown_name(reference.path)} is constant, so nothing can be aligned to it; accepted: one of "
                f"{', '.join(contrast) or 'none of its sequences'}"
            )
        for name in volumes:
            if name not in contrast:
                volumes[name] = Volume(0 * reference.array, reference.grid, volumes[name].path)
            elif name != self.register_to:
                outside = self.background(channels[name])
                volumes[name], found = align(volumes[name], reference, outside=outside, case=case)
                logger.info("%s: %s aligned to %s: %s", case, name, self.register_to, found.line())
                out["aligned"][name] = vars(found)
        super()._on_one_grid(volumes, out, case)
        return reference
