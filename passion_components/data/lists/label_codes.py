"""Which scheme the label files of a source are coded by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from passion_components.data.layouts.found_cases import FoundCases
from passion_components.datasets import DatasetSpec

_MAX_LISTED = 5
_OVERRIDE = "--label-scheme"


def detect_scheme(found: FoundCases, values: Mapping[str, Sequence[float]], spec: DatasetSpec) -> str:
    """The scheme that says what every value means; a guess, and values that no scheme knows, become notes.

    A source says what its codes mean by a description (``found.classes``), or by the names of its files. Of the schemes
    that agree with it and know all values, those that know less come first.

    Args:
        found: the cases; gets the notes.
        values: that occur in the label file of each case.
        spec: data set.

    Raises:
        ValueError: a description that no scheme agrees with, or that leaves open which it is; codes of two schemes,
            each in files of its own; names of files that contradict the codes.
    """
    schemes = _agreeing(found.classes, spec)
    together = {value for of_case in values.values() for value in of_case}
    fitting = {name: codes for name, codes in schemes.items() if codes.keys() >= together}
    if not fitting:
        if schemes.keys() != spec.label_schemes.keys():
            raise ValueError(
                f"label files hold {numbers(together)}, but their description says {_said(found.classes)}; accepted: "
                f"{_codes_of(schemes)}: recode the files, correct the description, or add {_OVERRIDE}"
            )
        found.notes.append(
            f"label files hold {numbers(together)}; no scheme of {spec.name} knows all of them: see passion check"
        )
        return next(iter(schemes))
    mixed = codes_that_never_meet(values, spec) if len(schemes) > 1 else None
    if mixed:
        raise ValueError(
            f"label files are coded in different ways: {mixed}; expected one way: recode the files so that a class has "
            f"one code, or add {_OVERRIDE} (accepted: {_codes_of(fitting)})"
        )
    narrow = {
        name: codes
        for name, codes in fitting.items()
        if not any(other.keys() < codes.keys() for other in fitting.values())
    }
    if found.classes.keys() - {"background"} and _differ(narrow, together):
        raise ValueError(
            f"the description of the labels ({_said(found.classes)}) fits {' and '.join(narrow)}; expected the code of "
            f"every class: add them, or {_OVERRIDE} (accepted: {_codes_of(narrow)})"
        )
    return _by_names(found, together, fitting, narrow, spec)


def codes_that_never_meet(values: Mapping[str, Sequence[float]], spec: DatasetSpec) -> str | None:
    """Codes of which every file holds one alone, as files of two schemes do; with their cases, or None.

    That is so where schemes with fewer codes explain every file by itself and none of them all files.

    Args:
        values: that occur in the label file of each case.
        spec: data set.
    """
    together = {value for of_case in values.values() for value in of_case}
    wide = [codes for codes in spec.label_schemes.values() if codes.keys() >= together]
    narrow = [codes for codes in spec.label_schemes.values() if any(codes.keys() < other.keys() for other in wide)]
    if not wide or any(codes.keys() >= together for codes in narrow):
        return None
    if not all(any(codes.keys() >= set(of_case) for codes in narrow) for of_case in values.values()):
        return None
    apart = [code for code in sorted(together) if any(not codes.keys() >= {code} for codes in narrow)]
    held = {code: [case for case, of_case in values.items() if code in of_case] for code in apart}
    return "; ".join(f"{code:g} in {_listed(cases)}" for code, cases in held.items())


def numbers(values: Sequence[float] | set[float]) -> str:
    """Values as messages list them, the first twelve."""
    ordered = sorted(values)
    more = f" and {len(ordered) - 12} more values" if len(ordered) > 12 else ""
    return (", ".join(f"{value:g}" for value in ordered[:12]) or "none") + more


def _agreeing(classes: Mapping[str, tuple[int, ...]], spec: DatasetSpec) -> dict[str, Mapping[int, int]]:
    """The schemes by which every code that a description names belongs to the class or region that it says."""
    known = {name: (spec.named_classes(name), codes) for name, codes in classes.items()}
    said = {name: (of_name, codes) for name, (of_name, codes) in known.items() if of_name is not None}
    agreeing = {
        scheme: meaning
        for scheme, meaning in spec.label_schemes.items()
        if all({meaning.get(code) for code in codes} == set(of_name) for of_name, codes in said.values())
    }
    if not agreeing:
        raise ValueError(
            f"the description of the labels says {_said({name: classes[name] for name in said})}; no label scheme of "
            f"{spec.name} agrees: {_codes_of(spec.label_schemes)}; correct the description, recode the files, or add "
            f"{_OVERRIDE}"
        )
    return agreeing


def _by_names(
    found: FoundCases,
    together: set[float],
    fitting: Mapping[str, Mapping[int, int]],
    narrow: Mapping[str, Mapping[int, int]],
    spec: DatasetSpec,
) -> str:
    """The first scheme that the files' names speak for, else of all; a note if another one of them reads otherwise."""
    hints = {spec.schemes_of_file(path) for case in found.cases for key, path in case.items() if key != "case"} - {()}
    hinted = next(iter(hints)) if len(hints) == 1 else ()
    named = [name for name in hinted if name in narrow]
    if hinted and not named and together and not found.classes:
        raise ValueError(
            f"label files hold {numbers(together)}, but the names of the files are those of {' or '.join(hinted)}; "
            f"expected its codes: recode the files, or add {_OVERRIDE} (accepted: {_codes_of(fitting)})"
        )
    first = next(iter(named or narrow))
    possible = {name: fitting[name] for name in hinted if name in fitting} if named else narrow
    if _differ(possible, together):
        found.notes.append(
            f"label files hold {numbers(together)}, which {' and '.join(possible)} read differently "
            f"({_codes_of(possible)}); taken as {first}: if that is wrong, add {_OVERRIDE}"
        )
    return first


def _differ(schemes: Mapping[str, Mapping[int, int]], values: set[float]) -> bool:
    """Whether schemes give one of the values different meanings."""
    return any(len({codes.get(int(value)) for codes in schemes.values()}) > 1 for value in values)


def _codes_of(schemes: Mapping[str, Mapping[int, int]]) -> str:
    return ", ".join(
        f"{name} ({', '.join(f'{code} = {index}' for code, index in codes.items())})" for name, codes in schemes.items()
    )


def _said(classes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} = {' '.join(map(str, codes))}" for name, codes in classes.items())


def _listed(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - _MAX_LISTED} more" if len(cases) > _MAX_LISTED else ""
    return f"{len(cases)} case{'s' if len(cases) > 1 else ''} ({', '.join(cases[:_MAX_LISTED])}{more})"
