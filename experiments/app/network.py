"""The page *Network*: who owes whom, who has failed and in which wave, and every trader's account around them."""

from typing import Any, Final

import ipyvuetify
import numpy as np
import solara
import traitlets

from experiments.app import theme
from experiments.app.snapshot import Accounts, Institutions, Snapshot
from experiments.drawing import usd, words
from experiments.figures import ANOTHER, EDGES, KINDS
from model.ledger import Status
from model.network import RINGS

HEIGHT: Final = 440
"""Pixels: what is left of 720 below the headline."""
DOTS: Final = 2_000
"""Accounts drawn at most, the first in the ledger; the rest are counted."""
PACE: Final = 700
"""Milliseconds between waves of default."""
NEAR: Final = 2 / 3
"""Maintenance margin over equity from which an account counts as near liquidation (our choice)."""
LETTERS: Final = {"lender": ": L", "market_maker": ": M", "liquidator": ": Q"}
"""How the key names a kind's nodes."""
WEAK: Final = 0.5
"""Part of its opening equity below which an institution is drawn as weak (our choice)."""


class NetworkCanvas(ipyvuetify.VuetifyTemplate):
    """Institutions in the middle, accounts around them; drawn on a canvas, for thousands of shapes are slow as anything else."""

    template_file = (__file__, "network.vue")
    nodes = traitlets.List([]).tag(sync=True)
    state = traitlets.Dict({}).tag(sync=True)
    look = traitlets.Dict({}).tag(sync=True)
    picked = traitlets.Int(None, allow_none=True).tag(sync=True)
    pace = traitlets.Int(PACE).tag(sync=True)
    height = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    on_pick = traitlets.Callable(None, allow_none=True)

    def vue_pick(self, node: int | None) -> None:
        """A click: a node from 0, an account from -1 downwards, or nothing."""
        if self.on_pick is not None:
            self.on_pick(node)


@solara.component
def NetworkPage(seen: Snapshot, dark: bool, run: int) -> None:
    """The network, and the balance sheet of what was clicked."""
    picked, set_picked = solara.use_state(None)
    with_accounts, show_accounts = solara.use_state(True)
    nodes = solara.use_memo(lambda: placed(seen.institutions), [run])
    with solara.Div(classes=["page-row"]):
        with solara.Div(classes=["page-wide"]):
            NetworkCanvas.element(
                nodes=nodes,
                state=state(seen, run, with_accounts=with_accounts),
                look=look(dark=dark),
                picked=picked,
                height=f"{HEIGHT}px",
                label=described(seen),
                on_pick=set_picked,
            )
        with solara.Div(classes=["page-side"]):
            Key(seen, dark)
            solara.Checkbox(label="Show traders’ accounts", value=with_accounts, on_value=show_accounts)
            Sheet(seen, picked)


@solara.component
def Key(seen: Snapshot, dark: bool) -> None:
    """What shapes and colours mean."""
    marks = {"exchange": "◆", "lender": "●", "market_maker": "▲", "liquidator": "◆"}
    counts = {kind: seen.institutions.kinds.count(kind) for kind in dict.fromkeys(seen.institutions.kinds)}
    with solara.Div(classes=["key"]):
        for kind, count in counts.items():
            mark = "■" if kind == "exchange" else marks.get(kind, "●")
            _entry(mark, theme.kind(kind, dark=dark), f"{words(kind)} ({count}){LETTERS.get(kind, '')}")
        _entry("◯", theme.ink(theme.RED, dark=dark), "in default; the number is its wave")
        _entry("◯", theme.ink(theme.ORANGE, dark=dark), f"has lost over {1 - WEAK:.0%} of its equity")
        _entry("—", theme.ink(theme.GREY, dark=dark), "owes; red: owed by a defaulter")
        _entry("•", look(dark=dark)["states"][1], "account near liquidation")
        _entry("•", look(dark=dark)["states"][2], "bankrupt account")
    count = seen.accounts.rows.size
    if count > DOTS:
        solara.Text(f"{DOTS:,} of {count:,} accounts are drawn.", classes=["says"])


def _entry(mark: str, colour: str, says: str) -> None:
    with solara.Div(classes=["key-entry"]):
        solara.Text(mark, style={"color": colour, "width": "18px", "display": "inline-block", "text-align": "center"})
        solara.Text(says)


@solara.component
def Sheet(seen: Snapshot, picked: int | None) -> None:
    """A balance sheet."""
    rows = sheet(seen, picked)
    with solara.Div(classes=["sheet"]):
        if not rows:
            solara.Text("Click a node or an account for its balance sheet.", classes=["says"])
        for at, (what, amount) in enumerate(rows):
            with solara.Div(classes=["sheet-row", "sheet-name"] if at == 0 else ["sheet-row"]):
                solara.Text(what)
                solara.Text(amount)


def sheet(seen: Snapshot, picked: int | None) -> list[tuple[str, str]]:
    """Rows of a balance sheet: a node from 0, an account from -1 downwards."""
    if picked is None:
        return []
    if picked < 0:
        return _account(seen.accounts, -1 - picked)
    it = seen.institutions
    if picked >= len(it.names):
        return []
    owes = sum(usd for a, _, usd in it.debts if a == picked)
    owed = sum(usd for _, b, usd in it.debts if b == picked)
    state = "active" if it.wave[picked] < 0 else f"defaulted in step {it.when[picked]}, wave {it.wave[picked]}"
    return [
        (it.names[picked], state),
        ("assets", usd(float(it.assets[picked]))),
        ("liabilities", usd(float(it.liabilities[picked]))),
        ("equity", usd(float(it.equity[picked]))),
        ("owed to it in the network", usd(owed)),
        ("owes in the network", usd(owes)),
    ]


def _account(accounts: Accounts, at: int) -> list[tuple[str, str]]:
    if at >= accounts.rows.size:
        return []
    equity, notional = float(accounts.equity[at]), float(accounts.notional[at])
    return [
        (f"account {accounts.rows[at]}", Status(int(accounts.status[at])).name.lower()),
        ("equity", usd(equity)),
        ("open positions", usd(notional)),
        ("leverage", f"{notional / equity:.1f} ×" if equity > 0 else "–"),
        ("maintenance margin", usd(float(accounts.maintenance[at]))),
    ]


def placed(institutions: Institutions) -> list[dict[str, Any]]:
    """Nodes with their places in the unit disc: rings by kind, as in the reports' figure."""
    places: list[dict[str, Any]] = []
    for name, kind in zip(institutions.names, institutions.kinds, strict=True):
        ring = RINGS[KINDS.get(kind, ANOTHER)[2]]
        among = [n for n, k in zip(institutions.names, institutions.kinds, strict=True) if RINGS[KINDS.get(k, ANOTHER)[2]] == ring]
        turn = 2.0 * np.pi * (among.index(name) + 0.5) / len(among) - np.pi / 2
        reach = 0.0 if kind == "exchange" else ring
        at = [round(float(reach * np.cos(turn)), 4), round(float(reach * np.sin(turn)), 4)]
        places.append({"name": name, "short": _short(name, kind), "kind": kind, "at": at})
    return places


def _short(name: str, kind: str) -> str:
    number = name.rpartition(" ")[2]
    return f"{LETTERS[kind][-1]}{number}" if kind in LETTERS else name


def state(seen: Snapshot, run: int, *, with_accounts: bool) -> dict[str, Any]:
    """What changes with every step."""
    it = seen.institutions
    largest = max((usd for _, _, usd in it.debts), default=1.0)
    debts = sorted(it.debts, key=lambda debt: debt[2])[-EDGES:]
    weak = (it.equity < WEAK * it.opening) & (it.wave < 0)
    return {
        "run": run,
        "radius": _radius(it.assets, 7.0, 24.0),
        "wave": it.wave.tolist(),
        "when": it.when.tolist(),
        "weak": weak.astype(int).tolist(),
        "debts": [[a, b, round(amount / largest, 3)] for a, b, amount in debts],
        "tips": [[what if not amount else f"{what}: {amount}" for what, amount in sheet(seen, node)[:4]] for node in range(len(it.names))],
        **(_dots(seen.accounts) if with_accounts else {}),
    }


def _dots(accounts: Accounts) -> dict[str, Any]:
    """Accounts as dots: radius by equity, state by margin."""
    kept = slice(0, DOTS)
    equity, status = accounts.equity[kept], accounts.status[kept]
    near = (accounts.maintenance[kept] > NEAR * np.maximum(equity, 0.0)) & (accounts.maintenance[kept] > 0.0)
    states = np.select([status == Status.BANKRUPT, status != Status.ACTIVE, near], [2, 3, 1], 0)
    return {
        "accounts": _radius(equity, 1.6, 11.0 if equity.size < 1_000 else 8.0),
        "states": "".join(map(str, states.tolist())),
        "rows": accounts.rows[kept].tolist(),
        "equity": np.round(equity).astype(int).tolist(),
    }


def _radius(amounts: Any, least: float, most: float) -> list[float]:
    """Pixels: area in proportion to the amount, the largest `most`, none below `least`."""
    held = np.maximum(amounts, 0.0)
    radii: list[float] = np.round(np.maximum(most * np.sqrt(held / (float(held.max(initial=0.0)) or 1.0)), least), 1).tolist()
    return radii


def look(*, dark: bool) -> dict[str, Any]:
    """Colours."""
    return {
        "kinds": {kind: theme.kind(kind, dark=dark) for kind in KINDS},
        "states": [theme.ink(theme.GREY, dark=dark), theme.ink(theme.ORANGE, dark=dark), theme.ink(theme.RED, dark=dark), "#777777"],
        "bad": theme.ink(theme.RED, dark=dark),
        "weak": theme.ink(theme.ORANGE, dark=dark),
        "edge": theme.ink(theme.GREY, dark=dark),
        "text": theme.text(dark=dark),
        "page": "#121212" if dark else "#ffffff",
    }


def described(seen: Snapshot) -> str:
    """The picture in words, for those who cannot see it."""
    it = seen.institutions
    failed = [name for name, wave in zip(it.names, it.wave, strict=True) if wave >= 0]
    return f"{len(it.names)} institutions and {seen.accounts.rows.size} accounts; in default: {', '.join(failed) or 'none'}"
