"""What happened at a venue in a step."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]


@dataclass
class Tally:
    """What happened in a step, for the record; shape (M,) where it says so.

    Attributes:
        volume: (M,) USD traded by orders.
        liquidated: (M,) USD of positions liquidated, by any route.
        halted: hours in which the exchange stood still.
        bounties: USD of liquidation fees that liquidators were paid.
        deferred: USD of deficits that became outstanding; settled: of outstanding losses that others than the fund have borne.
        bankruptcy_costs: USD of claims lost to the costs of the exchange's bankruptcy.
        run: USD withdrawn for fear of it.
        lost_hedges: USD of spot sold by hedgers whose contracts were deleveraged.
        absorbed: USD of deficits borne by each layer, by name.
        liquidated_accounts: accounts that were liquidated; liquidated_alone: those among them that news alone brought below maintenance.
        brought: USD that firms brought from accounts at other exchanges, less what they took there.
        rescued: USD that the outside world has paid in place of others, by the closed channel because of which it did.
    """

    volume: Floats
    liquidated: Floats
    fees: float = 0.0
    liquidations: int = 0
    takeovers: float = 0.0
    deleveraged: float = 0.0
    deficits: float = 0.0
    surplus: float = 0.0
    bounties: float = 0.0
    bankruptcies: int = 0
    rounds: int = 0
    unfinished: int = 0
    margin_calls: int = 0
    halted: float = 0.0
    deferred: float = 0.0
    settled: float = 0.0
    lost_hedges: float = 0.0
    bankruptcy_costs: float = 0.0
    run: float = 0.0
    brought: float = 0.0
    absorbed: dict[str, float] = field(default_factory=dict)
    rescued: dict[str, float] = field(default_factory=dict)
    liquidated_accounts: int = 0
    liquidated_alone: int = 0

    def absorb(self, layer: str, usd: float) -> None:
        """Notes what a layer has borne."""
        self.absorbed[layer] = self.absorbed.get(layer, 0.0) + usd

    def rescue(self, channel: str, usd: float) -> None:
        """Notes what the outside world has paid because a channel is closed."""
        self.rescued[channel] = self.rescued.get(channel, 0.0) + usd
