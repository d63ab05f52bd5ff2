"""Imperfect training data: which training case lacks which modality, drawn once, before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from passion_components.data.lists.datalist import Datalist, presence_table, write_datalist
from passion_components.data.lists.released_masks import presence_from_masks, read_released_masks
from passion_components.data.lists.splits import largest_remainder
from passion_components.data.outputs import check_replaceable
from passion_components.data.words import nearest, parse_numbers
from passion_components.modalities import all_subsets

METHODS = ("quota", "bernoulli")
_ORIGIN = "sequences_removed_from"


def parse_rates(text: str, modalities: Sequence[str]) -> dict[str, float]:
    """Missing rates by name, in the order of ``modalities``, from ``t1=.2,t1ce=.4,flair=.6,t2=.8`` in any order.

    Raises:
        ValueError: text of another form, or rates as refused by :func:`draw_presence`.
    """
    example = ",".join(f"{name}=.5" for name in modalities)
    return _checked_rates(parse_numbers(text, "rates", example), modalities)


def draw_presence(
    available: np.ndarray, rates: Mapping[str, float], modalities: Sequence[str], *, seed: int, method: str = "quota"
) -> np.ndarray:
    """Draw which modalities each case keeps.

    A non-empty combination S of modalities has probability prod_{m in S} (1 - MR_m) prod_{m not in S} MR_m, divided by
    the probability that anything is left at all. With ``quota`` every combination gets its expected number of cases
    (largest remainder) and a shuffle decides which; with ``bernoulli`` every case draws its combination on its own.
    A case never gains a modality, so one that already lacks some and would be left with none draws again among the
    combinations that leave it something. A modality left without a case is given back to one.

    Args:
        available: what the N cases have, bool (N, M).
        rates: missing rate MR_m of every modality by name, in [0, 1).
        modalities: names of the M modalities.
        seed: of the draw.
        method: ``quota`` or ``bernoulli``.

    Returns:
        What they keep, bool (N, M): no empty row, no empty column.

    Raises:
        ValueError: rates that miss a modality, name an unknown one or lie outside [0, 1); an unknown method; no
            cases; a case without any modality, or a modality that no case has.
    """
    rates = _checked_rates(rates, modalities)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; accepted: {', '.join(METHODS)}")
    if len(available) == 0 or not available.any(1).all():
        raise ValueError("expected at least one case, and at least one modality in each")
    for name, column in zip(modalities, available.T, strict=True):
        if not column.any():
            raise ValueError(f"no case has {name}; expected at least one case for every modality")

    rng = np.random.default_rng(seed)
    subsets = np.array([[name in subset for name in modalities] for subset in all_subsets(modalities)])
    probability = _subset_probabilities(subsets, rates)
    if method == "quota":
        choice = rng.permutation(
            np.repeat(np.arange(len(subsets)), largest_remainder(probability.tolist(), len(available)))
        )
    else:
        choice = rng.choice(len(subsets), size=len(available), p=probability)
    presence = subsets[choice] & available
    for row in np.flatnonzero(~presence.any(1)):
        possible = probability * (subsets & available[row]).any(1)
        presence[row] = subsets[rng.choice(len(subsets), p=possible / possible.sum())] & available[row]
    for column in np.flatnonzero(~presence.any(0)):
        presence[rng.choice(np.flatnonzero(available[:, column])), column] = True
    return presence


def simulate_missing(
    source: Datalist,
    out: Path | str,
    rates: Mapping[str, float],
    modalities: Sequence[str],
    *,
    seed: int,
    method: str = "quota",
) -> np.ndarray:
    """Write a datalist whose training cases lack modalities as drawn by :func:`draw_presence`.

    The other parts stay complete; no image file is touched.

    Returns:
        What the training cases have in ``out``, bool (N, M).

    Raises:
        ValueError: as :meth:`~passion_components.data.lists.datalist.Datalist.parts` and :func:`draw_presence`; ``out``
            is the file of ``source``; no training cases.
    """
    return _write_incomplete(
        source,
        out,
        modalities,
        lambda cases: draw_presence(presence_table(cases, modalities), rates, modalities, seed=seed, method=method),
    )


def apply_released_masks(source: Datalist, out: Path | str, masks: Path | str, modalities: Sequence[str]) -> np.ndarray:
    """Write a datalist whose training cases lack what a split file of PASSION's released code says.

    Returns:
        What the training cases have in ``out``, bool (N, M).

    Raises:
        FileNotFoundError, ValueError: as :func:`simulate_missing`,
            :func:`~passion_components.data.lists.released_masks.read_released_masks` and
            :func:`~passion_components.data.lists.released_masks.presence_from_masks`.
    """
    listed = read_released_masks(masks)
    return _write_incomplete(source, out, modalities, lambda cases: presence_from_masks(listed, cases, modalities))


def _write_incomplete(
    source: Datalist,
    out: Path | str,
    modalities: Sequence[str],
    presence_of: Callable[[Sequence[Mapping[str, str]]], np.ndarray],
) -> np.ndarray:
    """Write ``out`` with the presence that ``presence_of`` gives for the training cases of ``source``."""
    if Path(source.path).resolve() == Path(out).resolve():
        raise ValueError(f"{out}: would overwrite the complete datalist; name another file for the incomplete one")
    check_replaceable(out, f'"{_ORIGIN}"')
    parts = source.parts(modalities)
    cases = parts.get("training", [])
    if not cases:
        raise ValueError(f"{source.path}: has no training cases, so there is nothing to remove; expected at least one")
    try:
        presence = presence_of(cases)
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from None
    parts["training"] = [
        {key: value for key, value in case.items() if key not in modalities or row[modalities.index(key)]}
        for case, row in zip(cases, presence.tolist(), strict=True)
    ]
    write_datalist(
        out, parts, label_scheme=source.label_scheme, dataset=source.dataset(), **{_ORIGIN: Path(source.path).name}
    )
    return presence


def _subset_probabilities(subsets: np.ndarray, rates: Mapping[str, float]) -> np.ndarray:
    missing = np.array(list(rates.values()))
    probability = np.where(subsets, 1 - missing, missing).prod(1)
    return probability / probability.sum()


def _checked_rates(rates: Mapping[str, float], modalities: Sequence[str]) -> dict[str, float]:
    for name, rate in rates.items():
        if name not in modalities:
            accepted = ", ".join(modalities)
            raise ValueError(f"rates: unknown modality {name!r}{nearest(name, modalities)}; accepted: {accepted}")
        if not 0 <= rate < 1:
            raise ValueError(f"rates: the missing rate of {name} is {rate:g}; expected 0 or more and below 1")
    unnamed = [name for name in modalities if name not in rates]
    if unnamed:
        raise ValueError(
            f"rates: none given for {', '.join(unnamed)}; expected one for each of {', '.join(modalities)}"
        )
    return {name: rates[name] for name in modalities}
