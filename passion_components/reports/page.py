"""The pieces of an HTML page: macros of ``page.html.jinja``, which escape all text."""

from __future__ import annotations

import base64
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.colors import to_hex

HEAT_MAP = "cividis"
"""Perceptually uniform, and the same for readers with colour vision deficiencies."""


def _macros() -> Any:
    environment = Environment(
        loader=PackageLoader("passion_components.reports", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"base64": _base64, "breakable": _breakable, "heat": _heat_style}
    return environment.get_template("page.html.jinja").module


def _base64(data: bytes | str) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def _breakable(heading: str) -> Markup:
    """A heading that may go on in the next line after a plus, as names of subsets have it."""
    return escape(heading).replace("+", Markup("+<wbr>"))


def _heat_style(share: float) -> str:
    """Colours of a cell: black letters where they have more contrast (WCAG 2) than white ones."""
    colour = matplotlib.colormaps[HEAT_MAP](min(max(share, 0.0), 1.0))[:3]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return f"background:{to_hex(colour)};color:{'#000' if luminance > 0.179 else '#fff'}"


html = _macros()
"""``html.heading(2, "Scores")`` and so on: every macro gives a piece of HTML that the others take."""
