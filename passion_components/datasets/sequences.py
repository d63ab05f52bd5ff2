"""Which sequence a word in a file's name spells."""

from __future__ import annotations

from collections.abc import Mapping

from passion_components.datasets.built_in import DATASETS
from passion_components.datasets.spec import DatasetSpec, spelling


def known_sequence(word: str) -> str | None:
    """The name by which the built-in data sets know the sequence that ``word`` spells; None: they do not."""
    return _KNOWN.get(spelling(word))


def roles(spec: DatasetSpec) -> dict[str, str]:
    """What the built-in data sets call a sequence -> the modality of this one, by its name or its spellings.

    A modality that they do not have stands under its own name.
    """
    found: dict[str, str] = {}
    for name in spec.modalities:
        known = (known_sequence(word) for word in (name, *spec.spellings.get(name, ())))
        found[next((role for role in known if role and role not in found), name)] = name
    return found


def vocabulary(spec: DatasetSpec) -> dict[str, str]:
    """Spelling -> role of :func:`roles`: the words of the data set, then those of the built-in ones."""
    own = {spelling(word): role for role, name in roles(spec).items() for word in (name, *spec.spellings.get(name, ()))}
    return {**_KNOWN, **own}


_KNOWN: Mapping[str, str] = {
    spelling(word): name
    for spec in DATASETS.values()
    for name in spec.modalities
    for word in (name, *spec.spellings.get(name, ()))
}
