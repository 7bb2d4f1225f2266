"""Plots as SVG, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from tests.bench.contest import Contest, Figure

WIDTH = 8.5  # inches
COLOURS = {"ours": "#1b6ca8", "ours, tus": "#6aaede", "ours, with its client": "#9fd0ef", "bare loop": "#777777"}
REST = ("#d9822b", "#7a9e3f", "#a0568c", "#c0504d", "#c9a227", "#4f9d9d", "#8a6d4b", "#5b5ea6", "#b07aa1", "#999999")
STYLE = {
    "svg.hashsalt": "resumable-glance",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


def draw(contest: Contest, figures: Sequence[Figure], path: Path) -> None:
    """Draw figures as SVG, unless there are none or the contest has no drawing."""
    path.unlink(missing_ok=True)
    if not figures or contest.drawing == "none":
        return
    with matplotlib.rc_context(STYLE):
        sheet = {"bars": _bars, "lines": _lines, "shares": _shares}[contest.drawing](contest, figures)
        sheet.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")


def _bars(contest: Contest, figures: Sequence[Figure]) -> Sheet:
    """Draw a panel for each unit, with a group of bars for each setting."""
    units = _unique(each.unit for each in figures)
    panels = [[each for each in figures if each.unit == unit] for unit in units]
    sheet, axes = _sheet([len(panel) + len(_unique(each.setting for each in panel)) for panel in panels])
    colours = _colours(figures)
    for axis, panel, unit in zip(axes, panels, units, strict=True):
        position, ticks, names = 0.0, [], []
        for setting in _unique(each.setting for each in panel):
            group = [each for each in panel if each.setting == setting]
            ticks.append(position + (len(group) - 1) / 2)
            names.append(setting)
            for each in group:
                _bar(axis, position, each, colours[each.who])
                position += 1
            position += 1
        axis.set_yticks(ticks, names)
        axis.invert_yaxis()
        axis.set_xlabel(unit)
        axis.grid(axis="x")
    _legend(sheet, colours)
    return sheet


def _bar(axis: Axes, position: float, figure: Figure, colour: str) -> None:
    median = figure.median
    spread = [[max(0.0, median - min(figure.values))], [max(0.0, max(figure.values) - median)]]
    axis.barh(position, median, height=0.9, color=colour, xerr=spread, ecolor="#333333", error_kw={"linewidth": 0.8})
    text = f"{median:,.0f}" if median >= 100 else f"{median:.3g}"
    axis.annotate(
        text, (max(figure.values), position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
    )


def _lines(contest: Contest, figures: Sequence[Figure]) -> Sheet:
    sheet, (axis,) = _sheet([16])
    colours = _colours(figures)
    for who, colour in colours.items():
        own = [each for each in figures if each.who == who]
        at = [int(each.setting) for each in own]
        axis.plot(at, [each.median for each in own], marker="o", markersize=4, color=colour)
        axis.fill_between(
            at, [min(e.values) for e in own], [max(e.values) for e in own], color=colour, alpha=0.15, lw=0
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    places = sorted({int(each.setting) for each in figures})
    axis.set_xticks(places, [f"{each:,}" for each in places])
    axis.set_xticks([], minor=True)
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.set_xlabel(contest.axis)
    axis.set_ylabel(figures[0].unit)
    axis.grid(which="major")
    _legend(sheet, colours)
    return sheet


def _shares(contest: Contest, figures: Sequence[Figure]) -> Sheet:
    """Draw one bar of shares for each setting."""
    settings = _unique(each.setting for each in figures)
    sheet, (axis,) = _sheet([3 * len(settings)])
    colours = _colours(figures)
    for row, setting in enumerate(settings):
        left = 0.0
        for each in figures:
            if each.setting == setting:
                axis.barh(row, each.median, left=left, height=0.7, color=colours[each.who])
                if each.median >= 4:
                    axis.text(left + each.median / 2, row, f"{each.median:.0f}", ha="center", va="center", fontsize=8)
                left += each.median
    axis.set_yticks(range(len(settings)), settings)
    axis.invert_yaxis()
    axis.set_xlabel(figures[0].unit)
    _legend(sheet, colours)
    return sheet


def _sheet(rows: Sequence[int]) -> tuple[Sheet, list[Axes]]:
    """Return panels one below the other, in proportion to their rows."""
    heights = [max(1.0, 0.19 * each) for each in rows]
    sheet = Sheet(figsize=(WIDTH, sum(heights) + 0.6 * len(heights)), facecolor="white", layout="constrained")
    axes = sheet.subplots(len(rows), 1, squeeze=False, height_ratios=heights)
    return sheet, list(axes[:, 0])


def _colours(figures: Sequence[Figure]) -> dict[str, str]:
    whos = _unique(each.who for each in figures)
    rest = iter(REST * 3)
    return {who: COLOURS.get(who) or next(rest) for who in whos}


def _legend(sheet: Sheet, colours: dict[str, str]) -> None:
    handles = [matplotlib.patches.Patch(color=colour, label=who) for who, colour in colours.items()]
    sheet.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)), frameon=False)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
