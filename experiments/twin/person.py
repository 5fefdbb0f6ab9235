"""A trader that decides for itself: what it is, what it sees, what it orders, what it pays in and takes out."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.twin.accounts import Trader
from experiments.twin.market import clamp

if TYPE_CHECKING:
    from agents.trader import TraderGroup


@dataclass
class Character:
    """What a trader is: its group, its strategy (a place among the group's), its largest leverage, what it once paid in, USD."""

    group: "TraderGroup"
    strategy: int
    leverage: float
    stake: float


@dataclass
class Signals:
    """What traders see, by market: log mark over value, a day's trend, funding, daily volatility, what can be traded, shares of capital.

    `switching` is the probability, by group, that a speculator who reconsiders becomes a fundamentalist.
    """

    misalignment: list[float]
    trend: list[float]
    funding: list[float]
    daily: list[float]
    tradable: list[bool]
    weights: list[float]
    switching: dict[str, float] = field(default_factory=dict)


class Person(Trader):
    """A trader that decides."""

    character: Character
    leaving = False

    @property
    def parameters(self) -> Any:
        """Of its strategy."""
        return self.character.group.strategies[self.character.strategy]

    @property
    def hedges(self) -> bool:
        """Whether it matches short contracts with spot."""
        return bool(self.parameters.type == "hedger")

    def reconsider(self, chance: float) -> None:
        """A speculator chooses afresh: a fundamentalist with probability `chance`, else one of the other speculative strategies."""
        kinds = [p.type for p in self.character.group.strategies]
        others = [at for at, kind in enumerate(kinds) if kind == "chartist"]
        if self.parameters.type not in ("fundamentalist", "chartist") or "fundamentalist" not in kinds or not others:
            return
        rng = self.model.rng
        chosen = kinds.index("fundamentalist") if rng.random() < chance else others[int(rng.random() * len(others))]
        self.character.strategy = chosen

    def stance(self, market: int, signals: Signals) -> float:
        """Part of what leverage allows, -1 to 1, that it wants to hold."""
        p, daily = self.parameters, signals.daily[market]
        luck = self.model.rng.standard_normal()
        match p.type:
            case "fundamentalist":
                signal = -signals.misalignment[market] / daily if daily > 0.0 else 0.0
                return clamp(p.reaction * signal + p.noise * luck, -1.0, 1.0)
            case "chartist":
                signal = signals.trend[market] / daily if daily > 0.0 else 0.0
                return clamp(p.reaction * signal + p.noise * luck, -1.0, 1.0)
            case "noise":
                return clamp(p.bias + p.noise * luck, -1.0, 1.0)
            case _:
                return -clamp((signals.funding[market] - p.hurdle) / p.saturation, 0.0, 1.0)

    @property
    def wealth(self) -> float:
        """USD, a hedger's spot included."""
        return self.cash + (sum(units * mark for units, mark in zip(self.spot, self.marks, strict=True)) if self.hedges else 0.0)

    def order(self, signals: Signals, margin: Any, taste: float) -> list[float]:
        """Contracts from present to wanted positions, cut to what initial margin allows; costs leave `taste` of its leverage."""
        budget = max(self.wealth, 0.0) * self.character.leverage * taste
        wanted = list(self.position)
        for market, mark in enumerate(self.marks):
            if signals.tradable[market]:
                stance = 0.0 if self.leaving else self.stance(market, signals)
                wanted[market] = stance * budget * signals.weights[market] / mark
        initial = margin.initial(wanted, self.marks)
        allowed = min(max(self.cash, 0.0) * 0.95 / initial, 1.0) if initial > 0.0 else 1.0
        return [
            contracts * allowed - held if tradable else 0.0
            for contracts, held, tradable in zip(wanted, self.position, signals.tradable, strict=True)
        ]

    def pay(self, confidence: float, margin: Any) -> float:
        """USD that it pays in (> 0) or takes out: losers come back as far as confidence goes, winners take gains home."""
        group, stake, wealth = self.character.group, self.character.stake, self.wealth
        luck = self.model.rng.random()
        if wealth < group.deposit_below * stake:
            return stake - max(wealth, 0.0) if luck < group.redeposit * confidence else 0.0
        if wealth > group.withdraw_above * stake:
            free = max(self.cash - self.initial(margin), 0.0)
            return -max(min(wealth - 0.5 * (1.0 + group.withdraw_above) * stake, free), 0.0)
        return 0.0
