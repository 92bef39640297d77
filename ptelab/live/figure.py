# SPDX-License-Identifier: GPL-2.0-only
"""A small drawing: bars of shares, in groups, for a page that needs no other file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

_COLOURS = ("#1f6fb4", "#9cc4e4", "#c8651b", "#f0c49b", "#3d8b4f", "#b5dcbd")
_BAR, _GAP, _HEIGHT, _LEFT, _TOP, _BELOW = 30, 26, 160, 44, 18, 26
_LEGEND = 19


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """An SVG: for each group a bar of each series, from 0 to 1."""
    e = html.escape
    each = len(series) * _BAR + _GAP
    width = _LEFT + len(groups) * each + 10
    bottom = _TOP + _HEIGHT
    height = bottom + _BELOW + _LEGEND * len(series)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{max(width, 430)}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="11">'
    ]
    for tick in (0, 25, 50, 75, 100):
        y = bottom - tick * _HEIGHT / 100
        out.append(f'<path d="M{_LEFT - 4} {y:.1f}H{width - 10}" stroke="#ddd"/>')
        out.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{tick} %</text>')
    for g, group in enumerate(groups):
        x = _LEFT + g * each + _GAP / 2
        for n, (name, values) in enumerate(series.items()):
            tall = values[g] * _HEIGHT
            out.append(
                f'<rect x="{x + n * _BAR:.1f}" y="{bottom - tall:.1f}" width="{_BAR - 3}" height="{tall:.1f}" '
                f'fill="{_COLOURS[n % len(_COLOURS)]}"><title>{e(name)}, {e(group)}: {values[g]:.1%}</title></rect>'
            )
            out.append(
                f'<text x="{x + n * _BAR + (_BAR - 3) / 2:.1f}" y="{bottom - tall - 4:.1f}" text-anchor="middle" '
                f'font-size="10" fill="#222">{100 * values[g]:.0f}</text>'
            )
        middle = x + len(series) * _BAR / 2
        out.append(f'<text x="{middle:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#222">{e(group)}</text>')
    for n, name in enumerate(series):
        y = bottom + _BELOW + n * _LEGEND
        out.append(f'<rect x="{_LEFT}" y="{y}" width="12" height="12" fill="{_COLOURS[n % len(_COLOURS)]}"/>')
        out.append(f'<text x="{_LEFT + 18}" y="{y + 10}" fill="#222">{e(name)}</text>')
    return "\n".join([*out, "</svg>"])
