"""What to report of a cascade: how far it went, who made it, how long it lasted.

Everything here reads what a clearing, a cascade or a run's tables hold; nothing here changes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from model.contagion.clearing import clear
from model.contagion.debts import Floats, Seniority, numbers
from model.contagion.rules import paddrik_rajan_young


def amplification(total_loss: float, initial_loss: float) -> float:
    """Total over initial loss; not a number where there was none to begin with."""
    return total_loss / initial_loss if initial_loss > 0.0 else float("nan")


def defaults_by_wave(waves: ArrayLike) -> list[int]:
    """Defaults in wave 1, 2, …, from the wave of each node, (n,), −1 for none."""
    found = np.asarray(waves, dtype=np.int64)
    counts: list[int] = np.bincount(found[found > 0])[1:].tolist()
    return counts


def defaults_by_class(sheets: pd.DataFrame) -> pd.DataFrame:
    """Defaults by class and wave.

    Args:
        sheets: a run's `balance_sheets`: columns `kind` and `wave`, −1 for none; one row an institution.

    Returns:
        One row a class, in order of name: `institutions`, `initial` (wave 1), `contagious` (later waves), and `wave_1`, `wave_2`, ….
    """
    waves = range(1, max(int(sheets["wave"].max()), 1) + 1) if len(sheets) else range(1, 2)
    counts = pd.DataFrame({f"wave_{wave}": (sheets["wave"] == wave).groupby(sheets["kind"]).sum() for wave in waves})
    counts.insert(0, "institutions", sheets.groupby("kind").size())
    counts.insert(1, "initial", counts["wave_1"])
    counts.insert(2, "contagious", counts[[f"wave_{wave}" for wave in waves]].sum(axis=1) - counts["wave_1"])
    return counts


def branching_ratio(cascades: Iterable[Sequence[int]]) -> float:
    """Mean number of failures that one failure causes directly, over cascades given generation by generation.

    Every failure but the first generation's has a parent, and each failure could have been one: Σ (total − first) / Σ total, the maximum
    likelihood estimate for branching processes seen to their end (Harris 1948). 0 if nothing spreads; not a number without failures.
    """
    sizes = [(sum(generations), generations[0]) for generations in cascades if len(generations)]
    total = sum(size for size, _ in sizes)
    return (total - sum(first for _, first in sizes)) / total if total else float("nan")


def liquidation_cascades(events: pd.DataFrame) -> list[list[int]]:
    """Accounts liquidated round by round, one list for each increment of each step in which any was.

    A round answers the prices that the one before left, so it is a generation. Accounts that go on being liquidated from an earlier round
    of the same increment count once, in the round in which they first are; spread from one increment to the next is not seen, so a
    branching ratio of these is a lower bound.

    Args:
        events: a run's `events`, with `step`, `increment`, `round`, `account` and `kind`.
    """
    mine = events[events["kind"] == "liquidation"]
    first = mine.groupby(["step", "increment", "account"])["round"].min()
    out: list[list[int]] = []
    for _, rounds in first.groupby(level=["step", "increment"]):
        counts = np.bincount(rounds.to_numpy(dtype=np.int64) - int(rounds.min()))
        out.append(counts.tolist())
    return out


def time_to_recovery(hours: ArrayLike, values: ArrayLike, reference: ArrayLike, *, share: float = 1.0) -> float:
    """Hours from the first fall below `share` of a reference to the first return to it; 0 without a fall, infinite without a return.

    Args:
        hours: (T,), increasing.
        values: (T,): the fund, depth, or whatever fell.
        reference: (T,) or a number: the fund's target, or the level before the stress.
        share: part of the reference that counts as recovered.
    """
    time, found = np.asarray(hours, dtype=np.float64), np.asarray(values, dtype=np.float64)
    well = found >= share * np.asarray(reference, dtype=np.float64)
    if well.all():
        return 0.0
    fall = int(np.argmin(well))
    back = np.flatnonzero(well[fall:])
    return float(time[fall + back[0]] - time[fall]) if back.size else float("inf")


@dataclass(frozen=True, eq=False)
class Importance:
    """Expected contribution of each node to what creditors lose, USD, (n,), and the standard error of that mean over draws.

    Attributes:
        mean, error: by node.
        loss: (S,), what creditors lose in all, draw by draw.
    """

    mean: Floats
    error: Floats
    loss: Floats


def importance(
    liabilities: Any,
    draws: ArrayLike,
    external_liabilities: ArrayLike | None = None,
    *,
    tau: ArrayLike = 1.0,
    seniority: Seniority = "pari_passu",
    margin: Any | None = None,
) -> Importance:
    """Systemic importance: by how much creditors' losses fall in expectation if a node's shortages are met from outside (our choice).

    For each draw the network is cleared under Paddrik, Rajan and Young's rule, and again with τ = 0 for one node in stress at a time; nodes
    that are not in stress contribute nothing. Unlike a centrality this knows how often a node is short, and whether others can bear it.

    Args:
        draws: (S, n), external assets in S draws of the stress.
        liabilities, external_liabilities, seniority, margin: as for `clear`.
        tau: as for `paddrik_rajan_young`.
    """
    assets = np.atleast_2d(numbers("draws", draws))
    spread = np.broadcast_to(np.asarray(tau, dtype=np.float64), assets.shape[1:])
    fell = np.zeros_like(assets)
    loss = np.zeros(assets.shape[0])
    for at, held in enumerate(assets):
        base = clear(liabilities, held, external_liabilities, rule=paddrik_rajan_young(spread), seniority=seniority, margin=margin)
        loss[at] = base.deficiency
        for node in np.flatnonzero(base.defaulted):
            met = spread.copy()
            met[node] = 0.0
            saved = clear(liabilities, held, external_liabilities, rule=paddrik_rajan_young(met), seniority=seniority, margin=margin)
            fell[at, node] = base.deficiency - saved.deficiency
    error = fell.std(axis=0, ddof=1) / np.sqrt(len(fell)) if len(fell) > 1 else np.full(fell.shape[1], np.nan)
    return Importance(fell.mean(axis=0), error, loss)
