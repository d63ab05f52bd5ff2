"""Pieces of an HTML page: all text is escaped here, and nothing refers to another file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from string import Template

import matplotlib
from matplotlib.colors import to_hex

from passion_components.reports.cells import Table

HEAT_MAP = "cividis"
"""Perceptually uniform, and the same for readers with colour vision deficiencies."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 76rem; margin: 0 auto;
  padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.3rem; margin-top: 2.5rem; padding-top: .5rem; border-top: 2px solid #0072b2; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
a { color: #005a8e; }
nav ul { padding-left: 1.2rem; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; color: #444; padding: .3rem 0; }
caption span { display: block; position: sticky; left: 0; max-width: min(48rem, 100vw - 2rem); }
th, td { padding: .25rem .55rem; border-bottom: 1px solid #d5d5d5; text-align: right; vertical-align: top;
  white-space: nowrap; }
thead th { border-bottom: 2px solid #777; vertical-align: bottom; white-space: normal; }
td.words, thead th.words { text-align: left; }
th[scope=row] { text-align: left; font-weight: 600; position: sticky; left: 0; background: #fff; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 11rem;
  max-width: 32rem; }
figure { margin: .5rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption, .note { font-size: .85rem; color: #444; }
.missing { border-left: 4px solid #e69f00; background: #fdf6e7; padding: .5rem .8rem; font-size: .9rem;
  overflow-wrap: anywhere; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.row figure img { width: 100%; max-width: 32rem; }
@media (max-width: 40rem) { th[scope=row] { white-space: normal; max-width: 9rem; } }
@page { size: landscape; margin: 12mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  th[scope=row] { position: static; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .25rem; }
  td { white-space: normal; }
  tr, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure img { max-height: 24cm; }
}
</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, body: Iterable[str]) -> str:
    """A whole page of pieces that are HTML already."""
    return PAGE.substitute(title=escape(title), body="\n".join(body))


def heading(level: int, text: str, anchor: str = "") -> str:
    """A heading; ``anchor`` makes it the goal of a link."""
    return f"<h{level}{_attribute('id', anchor)}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; of the kind ``missing`` it tells what is not there and how to make it."""
    return f"<p{_attribute('class', kind)}>{escape(text)}</p>"


def contents(entries: Sequence[tuple[str, str]]) -> str:
    """Links to headings, as (text, anchor)."""
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(text)}</a></li>' for text, anchor in entries)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def svg_figure(svg: str, text: str) -> str:
    """A chart; ``text`` tells what it shows to readers who cannot see it."""
    return f"<figure>{_image('svg+xml', svg.encode(), text)}</figure>"


def png_figure(png: bytes, text: str, caption: str, columns: int) -> str:
    """A picture of panels in columns, which scrolls in its own box where the screen is too narrow for them."""
    size = f"width:{15 * columns}rem;min-width:{11 * columns}rem"
    image = _scrolling(caption, _image("png", png, text, size))
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def side_by_side(figures: Iterable[str]) -> str:
    """Figures in as many columns as fit."""
    return f'<div class="row">{"".join(figures)}</div>'


def number_table(table: Table, heat: dict[int, float] | None = None) -> str:
    """A table with its caption, which scrolls in its own box.

    Args:
        table: its label columns head the rows.
        heat: index of a column whose cells are coloured by their first value -> the value of the map's upper end; the
            lower end is 0.
    """
    head = "".join(
        f'<th scope="col"{_attribute("class", "words" if i < table.labels else "")}>{_breakable(column.heading)}</th>'
        for i, column in enumerate(table.columns)
    )
    rows = []
    for row in table.rows:
        cells = [f'<th scope="row">{escape(row[0].text)}</th>']
        for i, cell in enumerate(row[1:], 1):
            value = cell.values[0] if heat and i in heat else None
            style = _heat_style(value / heat[i]) if heat and isinstance(value, float) else ""
            kind = _attribute("class", "words" if i < table.labels else "") + _attribute("style", style)
            cells.append(f"<td{kind}>{escape(cell.text)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _scrolling(
        table.title,
        f"<table><caption><span>{escape(table.caption.replace('`', ''))}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>",
    )


def text_table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table of words: a heading and a text for each column in every row."""
    head = "".join(f'<th scope="col" class="words">{escape(column)}</th>' for column in ("", *columns))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td class=text>{escape(t)}</td>" for t in texts)}</tr>'
        for name, texts in rows
    )
    return _scrolling(title, f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _image(kind: str, data: bytes, text: str, style: str = "") -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" alt="{escape(text)}"{_attribute("style", style)}>'


def _breakable(heading: str) -> str:
    """A heading that may go on in the next line after a plus, as names of subsets have it."""
    return escape(heading).replace("+", "+<wbr>")


def _scrolling(label: str, content: str) -> str:
    """A box that scrolls sideways, also with the keyboard."""
    return f'<div class="scroll" tabindex="0" role="region"{_attribute("aria-label", label)}>{content}</div>'


def _heat_style(share: float) -> str:
    """Colours of a cell: black letters where they have more contrast (WCAG 2) than white ones."""
    colour = matplotlib.colormaps[HEAT_MAP](min(max(share, 0.0), 1.0))[:3]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return f"background:{to_hex(colour)};color:{'#000' if luminance > 0.179 else '#fff'}"


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""
