"""One index for several exchanges: what trading at one of them moves, the others' indices follow.

News is common to all. Of what trading adds to it at one exchange, order flow is known when the step opens and drifts into the others' paths
as it does into its own; what liquidations move the others follow in the next increment of the walk; what else is bought or sold, of
underlyings, they follow when the next step opens, and with it what the last increment's liquidations moved.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.market import Market
from model.path import Path

type Floats = NDArray[np.float64]


class CommonIndex:
    """What exchanges have yet to follow.

    Args:
        markets: of the exchanges.
        share: part of what trading at one moves its index by that the others' indices follow.

    Attributes:
        unheard: shape (V, A), log, by how much trading has moved each exchange's indices without that the others have followed.
    """

    def __init__(self, markets: Sequence[Market], share: float) -> None:
        self.share, self._markets = share, tuple(markets)
        self.unheard: Floats = np.zeros((len(self._markets), self._markets[0].assets))
        self._seen = self._indices()

    def _indices(self) -> Floats:
        """Shape (V, A), log."""
        return np.array([market.log_index[: market.assets] for market in self._markets])

    def traded(self) -> None:
        """Notes what trades outside the walk have moved since it was looked last."""
        now = self._indices()
        self.unheard = self.unheard + (now - self._seen)
        self._seen = now

    def walked(self, moved: Floats) -> None:
        """After the walk: what its last increment has moved, (V, A), is yet to be followed."""
        self.unheard = self.unheard + moved
        self._seen = self._indices()

    def paths(self, paths: Sequence[Path]) -> list[Path]:
        """The step's paths, all in the same increments, with what they follow: at once what was unheard, then others' order flow."""
        self.traded()
        flow = np.array([market.flowing()[: market.assets] for market in self._markets])
        jump, drift = (self.share * (moves.sum(axis=0) - moves) for moves in (self.unheard, flow))
        self.unheard = np.zeros_like(self.unheard)
        followed = []
        for path, market, first, hourly in zip(paths, self._markets, jump, drift, strict=True):
            dlog, hours = path.dlog + hourly[market.asset][:, None] * path.hours, path.hours
            if jump.any():
                dlog, hours = np.column_stack((first[market.asset], dlog)), np.concatenate(([0.0], hours))
            followed.append(Path(dlog, hours))
        return followed
