"""Cases dealt out over the parts of a datalist."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from passion_components.data.case_names import PARTS
from passion_components.data.layouts.visits import patient_of
from passion_components.data.words import nearest, parse_numbers

DEFAULT_SPLIT: Mapping[str, float] = {"training": 0.7, "validation": 0.1, "test": 0.2}


def parse_split(text: str) -> dict[str, float]:
    """Shares by part from ``training=0.7,validation=0.1,test=0.2``, or numbers from ``training=219,test=150``.

    Raises:
        ValueError: text of another form, or numbers as refused by :func:`split_cases`.
    """
    split = parse_numbers(text, "split", "training=0.7,validation=0.1,test=0.2")
    _check_split(split)
    return split


def split_cases(
    cases: Sequence[Mapping[str, str]], shares: Mapping[str, float], seed: int
) -> dict[str, list[Mapping[str, str]]]:
    """Distribute whole cases over the parts at random.

    Sizes of the parts follow the shares by largest remainder, or are the numbers given. The outcome depends on names,
    shares and seed, not on the order of ``cases``; within a part cases are sorted by name.

    Args:
        cases: each with a ``case`` of its own.
        shares: by part; they add up to 1, or are whole numbers that add up to that of the cases. A part that is not
            named is empty.
        seed: of the draw.

    Raises:
        ValueError: an unknown part, a negative share, shares that do not add up, a case name that occurs twice.
    """
    _check_split(shares)
    ordered = sorted(cases, key=lambda case: case["case"])
    for one, other in zip(ordered, ordered[1:], strict=False):
        if one["case"] == other["case"]:
            raise ValueError(f"case {one['case']!r} occurs twice; expected every case once")
    sizes = _sizes(shares, len(ordered))
    part_of_case = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(PARTS)), sizes))
    return {
        part: [case for case, where in zip(ordered, part_of_case, strict=True) if where == index]
        for index, part in enumerate(PARTS)
    }


def split_by_patient(
    cases: Sequence[Mapping[str, str]],
    shares: Mapping[str, float],
    seed: int,
    patients: Mapping[str, str] | None = None,
) -> dict[str, list[Mapping[str, str]]]:
    """As :func:`split_cases`, of patients: all scans of one are in one part.

    ``patients`` (case -> patient) come before what names tell (see :func:`patient_of`).

    Raises:
        ValueError: as :func:`split_cases`; several parts for scans of a single patient.
    """
    of_patient = by_patient(cases, patients)
    if len(of_patient) == 1 < len(cases) and sum(share > 0 for share in shares.values()) > 1:
        (patient,) = of_patient
        raise ValueError(
            f"split: all {len(cases)} cases, {cases[0]['case']} and so on, look like visits of one patient, {patient}, "
            f"who belongs to one part; if they are not, name the cases of each part in files (--list), or in a table "
            f"with the column part"
        )
    parts = split_cases([{"case": name} for name in of_patient], shares, seed)
    return {part: [case for entry in names for case in of_patient[entry["case"]]] for part, names in parts.items()}


def by_patient(
    cases: Sequence[Mapping[str, str]], patients: Mapping[str, str] | None = None
) -> dict[str, list[Mapping[str, str]]]:
    """Patient -> cases, sorted by their names; ``patients`` as of :func:`split_by_patient`."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for case in sorted(cases, key=lambda case: case["case"]):
        found.setdefault((patients or {}).get(case["case"], patient_of(case["case"])), []).append(case)
    return found


def patients_in_parts(
    parts: Mapping[str, Sequence[str]], patients: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Patients with cases in several parts: patient -> case -> part.

    Args:
        parts: names of the cases of each part.
        patients: as of :func:`split_by_patient`.
    """
    found: dict[str, dict[str, str]] = {}
    for part, names in parts.items():
        for name in names:
            found.setdefault((patients or {}).get(name, patient_of(name)), {})[name] = part
    return {patient: part_of for patient, part_of in found.items() if len(set(part_of.values())) > 1}


def split_by_stratum(
    cases: Sequence[Mapping[str, str]],
    shares: Mapping[str, float],
    seed: int,
    *,
    stratum: Callable[[Mapping[str, str]], str],
) -> dict[str, list[Mapping[str, str]]]:
    """As :func:`split_cases`, with every part drawing from all strata (say, institutions) in proportion.

    What is dealt out are patients, by the stratum of their first case; all scans of one get into one part.

    They are lined up stratum by stratum, in random order within each, and dealt out in a fixed rhythm: part sizes over
    all patients are those of :func:`split_cases`, and in each stratum they are off by about one patient at most.

    Raises:
        ValueError: as :func:`split_cases`.
    """
    of_patient: dict[str, list[Mapping[str, str]]] = {}
    for case in sorted(cases, key=lambda case: case["case"]):
        of_patient.setdefault(patient_of(case["case"]), []).append(case)
    ordered = [of_one[0] for of_one in of_patient.values()]
    sizes = {part: len(of_part) for part, of_part in split_cases(ordered, shares, seed).items()}
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(ordered))
    line = sorted((ordered[index] for index in order), key=stratum)
    slots = sorted(((k + 0.5) / size, part) for part, size in sizes.items() for k in range(size))
    turn = int(rng.integers(len(slots))) if slots else 0
    dealt = [part for _, part in slots[turn:] + slots[:turn]]
    return {
        part: sorted(
            (
                case
                for first, where in zip(line, dealt, strict=True)
                if where == part
                for case in of_patient[patient_of(first["case"])]
            ),
            key=lambda case: case["case"],
        )
        for part in PARTS
    }


def force_into_parts(
    cases: Sequence[Mapping[str, str]], forced: Mapping[str, str]
) -> tuple[list[Mapping[str, str]], dict[str, list[Mapping[str, str]]]]:
    """Take cases out of the draw: what is left to be split, and by part the cases that ``forced`` (case -> part) names.

    Raises:
        ValueError: a name that is no case.
    """
    names = [case["case"] for case in cases]
    for name, part in forced.items():
        if name not in names:
            near = get_close_matches(name, names, n=3, cutoff=0.3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the cases are {names[0]} and so on"
            raise ValueError(f"{part} {name!r}: no such case; {hint}")
    fixed = {part: [case for case in cases if forced.get(case["case"]) == part] for part in PARTS}
    return [case for case in cases if case["case"] not in forced], fixed


def largest_remainder(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that add up to ``total`` in the proportions of ``shares``, which add up to 1.

    Each share gets its product with ``total`` rounded down; what is left goes to the largest fractions, the first of
    equal ones before the others.
    """
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_fraction = sorted(range(len(exact)), key=lambda i: round(counts[i] - exact[i], 9))
    for index in by_fraction[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _are_numbers(shares: Mapping[str, float]) -> bool:
    """Whether numbers of cases are meant, not shares of them."""
    return sum(shares.values()) > 1 and all(float(share).is_integer() for share in shares.values())


def _sizes(shares: Mapping[str, float], total: int) -> list[int]:
    """Number of cases of each part."""
    values = [shares.get(part, 0.0) for part in PARTS]
    if not _are_numbers(shares):
        return largest_remainder(values, total)
    if sum(values) != total:
        raise ValueError(
            f"split: the numbers add up to {sum(values):g}, but there are {total} patients to be split (scans of one "
            f"patient count once); expected numbers of patients that add up to {total}"
        )
    return [int(value) for value in values]


def _check_split(shares: Mapping[str, float]) -> None:
    for part, share in shares.items():
        if part not in PARTS:
            raise ValueError(f"split: unknown part {part!r}{nearest(part, PARTS)}; accepted: {', '.join(PARTS)}")
        if share < 0:
            raise ValueError(f"split: the share of {part} is {share:g}; expected 0 to 1, or whole numbers of cases")
    total = sum(shares.values())
    if not _are_numbers(shares) and not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ValueError(f"split: the shares add up to {total:g}; expected 1, or whole numbers of cases")
