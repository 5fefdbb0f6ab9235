"""Colours: one palette with the figures of the reports, with lighter inks where the page is dark."""

from typing import Final

from experiments.drawing import BLACK, BLUE, GREY, ORANGE, PALETTE, PLUM, RED, VIOLET
from experiments.figures import ANOTHER, FLOWS, KINDS, LAYERS, OTHER

__all__ = ["BLACK", "BLUE", "GREY", "ORANGE", "PLUM", "RED", "VIOLET", "flow", "ink", "kind", "layer", "market", "rule", "text"]

DARK: Final = {BLACK: "#e6e6ea", BLUE: "#7aa6ff", RED: "#ff5c6c", PLUM: "#cf86c3", GREY: "#8d8d95", VIOLET: "#b48aff", ORANGE: ORANGE}
"""What each colour of the palette becomes on a dark page."""


def ink(colour: str, *, dark: bool) -> str:
    """A colour of the palette on this page."""
    return DARK.get(colour, colour) if dark else colour


def market(at: int, *, dark: bool) -> str:
    """A market's colour; markets beyond the palette share grey."""
    return ink(PALETTE[at] if at < 4 else GREY, dark=dark)


def layer(name: str, *, dark: bool) -> str:
    """A waterfall layer's colour."""
    return ink(LAYERS.get(name, OTHER)[0], dark=dark)


def flow(name: str, *, dark: bool) -> str:
    """A fund flow's colour."""
    return ink(FLOWS.get(name, OTHER)[0], dark=dark)


def kind(name: str, *, dark: bool) -> str:
    """An institution's colour."""
    return ink(KINDS.get(name, ANOTHER)[0], dark=dark)


def text(*, dark: bool) -> str:
    """Of axes and labels."""
    return "#c9c9cf" if dark else "#3c3c43"


def rule(*, dark: bool) -> str:
    """Of grid lines."""
    return "#3a3a40" if dark else "#e4e4e8"
