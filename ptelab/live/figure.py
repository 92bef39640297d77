# SPDX-License-Identifier: GPL-2.0-only
"""Bars of shares, in groups, for a page that needs no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_COLOURS = ("#1f6fb4", "#9cc4e4", "#c8651b", "#f0c49b", "#3d8b4f", "#b5dcbd")


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """An SVG: for each group a bar of each series, from 0 to 1."""
    import pygal  # only a report with a figure needs it
    from pygal.style import Style

    style = Style(
        colors=_COLOURS, background="white", plot_background="white", font_family="system-ui, sans-serif",
        value_font_size=10, label_font_size=11, major_label_font_size=11, legend_font_size=11, opacity="1",
        guide_stroke_color="#ddd", major_guide_stroke_color="#ddd",
    )  # fmt: skip
    chart = pygal.Bar(
        style=style, js=[], width=820, height=380, legend_at_bottom=True, legend_at_bottom_columns=2,
        print_values=True, print_values_position="top", range=(0, 100), margin=12, truncate_legend=-1,
        value_formatter=lambda value: f"{value:.0f}", y_labels=[0, 25, 50, 75, 100], y_title="%",
        disable_xml_declaration=True,
    )  # fmt: skip
    chart.x_labels = list(groups)
    for name, values in series.items():
        chart.add(name, [100 * value for value in values])
    return re.sub(r"<script.*?</script>", "", chart.render(is_unicode=True), flags=re.DOTALL)
