"""What can be wrong with the cases of a datalist taken together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from passion_components.data.checks.findings import CheckedCase, Finding, Kind
from passion_components.data.lists.label_codes import codes_that_never_meet
from passion_components.data.lists.splits import patients_in_parts
from passion_components.datasets import DatasetSpec

_MAX_LISTED = 5


def list_findings(
    cases: Sequence[CheckedCase], missing_rates: Mapping[str, float], spec: DatasetSpec, scheme: str
) -> Iterator[Finding]:
    """Everything that is wrong between cases, or with the training part as a whole.

    Args:
        cases: of all parts.
        missing_rates: share of the training cases that lack a modality, by its name; none without training cases.
        spec: data set.
        scheme: of its label files.
    """
    for name, rate in missing_rates.items():
        if rate == 1:
            yield Finding(
                Kind.NEVER_PRESENT, (), f"training: no case has {name}; expected at least one for every sequence"
            )
    yield from _codes(cases, spec, scheme)
    yield from _names(cases)
    yield from _patients(cases)
    yield from _shared_data(cases)


def _codes(cases: Sequence[CheckedCase], spec: DatasetSpec, scheme: str) -> Iterator[Finding]:
    """Codes as two schemes have them, and regions that no label map holds; unknown values are told by case."""
    values = {str(case): case.volumes["label"].label_values or () for case in cases if "label" in case.volumes}
    together = {value for of_case in values.values() for value in of_case}
    codes = spec.codes(scheme)
    seen = {codes.get(int(value)) for value in together}
    if together - codes.keys() or seen <= {0}:
        return
    mixed = codes_that_never_meet(values, spec)
    if mixed:
        yield Finding(
            Kind.MIXED_CODES,
            (),
            f"label maps: {mixed}, never both in one; are these files of two label schemes? recode them so that a "
            f"class has one code",
        )
    labelled = [case for case in cases if "label" in case.volumes and _classes_in(case, codes)]
    for region, classes in spec.regions.items():
        if not seen & set(classes):
            yield Finding(
                Kind.EMPTY_REGION,
                (),
                f"label maps: {region} is in none of {len(values)}; its scores will say nothing: "
                f"is label_scheme right?",
            )
            continue
        lacking = [case for case in labelled if not _classes_in(case, codes) & set(classes)]
        if lacking and not mixed:
            yield Finding(
                Kind.LACKING_REGION,
                tuple(lacking),
                f"label maps: {region} is not in {len(lacking)} of {len(labelled)} with foreground "
                f"({_listed(lacking)}); right for patients without it: the policy for empty masks scores these",
            )


def _classes_in(case: CheckedCase, codes: Mapping[int, int]) -> set[int]:
    """Classes in a label map, background left out."""
    return {codes[int(value)] for value in case.volumes["label"].label_values or ()} - {0}


def _listed(cases: Sequence[CheckedCase]) -> str:
    more = f" and {len(cases) - _MAX_LISTED} more" if len(cases) > _MAX_LISTED else ""
    return ", ".join(map(str, cases[:_MAX_LISTED])) + more


def _names(cases: Sequence[CheckedCase]) -> Iterator[Finding]:
    by_name: dict[str, list[CheckedCase]] = {}
    for case in cases:
        by_name.setdefault(case.name, []).append(case)
    for name, same in by_name.items():
        if len(same) > 1:
            yield Finding(
                Kind.NAME_IN_PARTS,
                tuple(same),
                f"{name}: is in {' and in '.join(case.part for case in same)}; a case belongs to one part: "
                f"remove it from the others",
            )


def _patients(cases: Sequence[CheckedCase]) -> Iterator[Finding]:
    names: dict[str, list[str]] = {}
    for case in cases:
        names.setdefault(case.part, []).append(case.name)
    for patient, part_of in patients_in_parts(names).items():
        if len(part_of) > 1:
            same = tuple(case for case in cases if part_of.get(case.name) == case.part)
            yield Finding(
                Kind.PATIENT_IN_PARTS,
                same,
                f"{patient}: {', '.join(map(str, same))} look like scans of one patient, who belongs to one part: move "
                f"them together",
            )


def _shared_data(cases: Sequence[CheckedCase]) -> Iterator[Finding]:
    """Cases of which a file is the same, copied, or equal in its voxels: one finding for each set of such cases.

    Constant volumes are equal by nature, as label maps without foreground are, and tell nothing.
    """
    holders: dict[str, dict[int, list[str]]] = {}
    for index, case in enumerate(cases):
        for key, volume in case.volumes.items():
            if not volume.constant:
                holders.setdefault(volume.voxels_sha256, {}).setdefault(index, []).append(key)
    shared: dict[tuple[int, ...], list[str]] = {}
    for keys_of in holders.values():
        if len(keys_of) > 1:
            shared.setdefault(tuple(keys_of), []).append(_describe(cases, keys_of))
    for indices, what in sorted(shared.items()):
        concerned = tuple(cases[index] for index in indices)
        text = f"{_listed(concerned)}: hold the same data: {', '.join(what)}"
        if len({case.part for case in concerned}) > 1:
            yield Finding(Kind.LEAK, concerned, f"{text}; a patient belongs to one part: remove it from the others")
        else:
            yield Finding(Kind.COPIED_CASE, concerned, f"{text}; every patient counts once: keep one, or fix the path")


def _describe(cases: Sequence[CheckedCase], keys_of: Mapping[int, Sequence[str]]) -> str:
    """Which sequence is shared, and in which way."""
    files = [cases[index].files[key] for index, keys in keys_of.items() for key in keys]
    names = " = ".join(dict.fromkeys(key for keys in keys_of.values() for key in keys))
    if len({facts.path for facts in files}) == 1:
        return f"{names} (one file)"
    return f"{names} ({'equal files' if len({facts.sha256 for facts in files}) == 1 else 'equal voxels'})"
