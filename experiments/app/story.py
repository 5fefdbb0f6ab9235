"""What is going on, in one sentence and a few figures that change with the state."""

from dataclasses import dataclass
from typing import Final, Literal

from agents.clearinghouse.waterfall import BackstopFund, Deleveraging
from experiments.app.snapshot import FLOW_COLUMNS, Snapshot, Stress
from experiments.drawing import usd, words
from model.ledger import Flow

type Mood = Literal["calm", "stress", "empty", "insolvent", "failed"]

INFLOWS: Final = (
    Flow.TRADING_FEE,
    Flow.OPEN_INTEREST_LEVY,
    Flow.VOLUME_LEVY,
    Flow.FUNDING_SHARE,
    Flow.LIQUIDATION_FEE,
    Flow.SURPLUS,
    Flow.OPTION_VAULT_INCOME,
)
"""What those who trade pay into the fund."""
OWNERS: Final = (Flow.INJECTION, Flow.RECAPITALISATION)
"""What the exchange and its owners pay into it."""
PAYERS: Final = {
    "exchange_capital": "the exchange itself {usd}",
    "vault": "the backstop vault's depositors {usd}",
    "stakers": "stakers of its token {usd}",
    "deleveraging": "winning traders {usd}, by deleveraging",
    "socialised_loss": "all account holders {usd}, by socialised loss",
    "withdrawal_factor": "account holders {usd}, kept from what they withdrew",
    "clawback": "winners of the week {usd}, by clawback",
    "defaulter_contribution": "the defaulters {usd}, out of what they had put into the guarantee fund",
    "members_fund": "clearing members {usd}, out of their guarantee fund",
    "second_skin": "the exchange again {usd}, by its second skin in the game",
    "assessment": "surviving members {usd}, by assessment",
    "tear_up": "holders of torn-up contracts {usd}",
    "write_down": "customers {usd}, by a write-down of their claims",
}
"""Who pays in each layer but the fund's, as a sentence says it; any other layer is called by its own name."""
ITS_OWN: Final = ("fund", "shared_fund")
"""Layers that are the fund."""
EMPTY: Final = 0.05
"""Part of what the fund has paid below which what is left is called exhausted (our choice)."""
SMALL: Final = 0.01
"""Part of the fund up to which a loss that it has borne alone is called small (our choice)."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence or two, and how bad it is."""

    mood: Mood
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure for a card: what it is, how much, and a remark."""

    label: str
    amount: str
    remark: str
    bad: bool = False


def headline(seen: Snapshot) -> Headline:
    """What a newcomer should read first."""
    if seen.failure is not None:
        return Headline("failed", f"The run has stopped: {seen.failure}. Reset opens it anew.")
    stress = seen.stress
    if seen.table.last("insolvent") > 0:
        lost, paid = usd(seen.total("absorbed_write_down")), usd(seen.total("absorbed_fund"))
        told = f"The exchange is insolvent: the fund has paid {paid} of {usd(seen.total('deficits'))} lost beyond margin,"
        return Headline("insolvent", f"{told} and {lost} of customers' claims have been written down.{_spread(seen)}")
    if seen.over and seen.whole is not None:
        return _ended(seen, seen.whole)
    if stress is not None and stress.going_on(seen.hours):
        return _in_stress(seen, stress)
    return Headline("calm", _calm(seen, stress))


def clock(seen: Snapshot) -> str:
    """Where the run stands."""
    end = " (end of the scenario)" if seen.over else ""
    return f"day {int(seen.hours // 24) + 1}, hour {seen.hours % 24:g} · step {seen.step:,} of {seen.last:,}{end}"


def figures(seen: Snapshot) -> list[Figure]:
    """The cards above every page."""
    table, first = seen.table, seen.markets[0]
    fund, target = table.last("fund"), table.last("fund_target")
    change = table.last(f"index_{first}") / float(table[f"index_{first}"][0]) - 1.0
    deficits, residual = seen.total("deficits"), seen.total("residual_loss")
    defaults, contagious = int(seen.total("defaults")), int(seen.total("contagious_defaults"))
    adequacy = table.last("adequacy")
    share = f"{adequacy:.0%} of its target of {usd(target)}" if target else "no target"
    beyond = "residual loss: others paid it" if residual else "nobody but the fund has paid"
    return [
        Figure(first, f"{change:+.1%}".replace("-", "−"), "since the opening", bad=change < -0.1),
        Figure("Backstop fund", usd(fund), share, bad=adequacy < 0.05),
        Figure("Losses beyond margin", usd(deficits), "deficits of liquidated accounts", bad=deficits > 0),
        Figure("Beyond the fund", usd(residual), beyond, bad=residual > 0),
        Figure("Defaults", f"{defaults}", f"{contagious} by contagion" if defaults else "of institutions", bad=defaults > 0),
    ]


def _in_stress(seen: Snapshot, stress: Stress) -> Headline:
    """Who has paid so far, in the order in which they were asked."""
    paid, left = stress.absorbed.get("fund", 0.0), seen.table.last("fund")
    if stress.residual <= 0.0:
        small = stress.deficits <= SMALL * (paid + left) and not (stress.deleveraged or stress.defaults)
        part = "it" if paid >= stress.deficits * (1.0 - 1e-9) else f"{usd(paid)} of it"
        text = f"Accounts lost {usd(stress.deficits)} beyond their margin. The fund has paid {part} and still holds {usd(left)}."
        said = Headline("calm", f"A small loss. {text}") if small else Headline("stress", f"Stress. {text}{_closed(stress)}")
        return Headline(said.mood, said.text + _spread(seen))
    others = _others(seen, stress)
    rest = f" The rest was paid by {_listed(others)}." if others else ""
    return Headline("empty", _emptied(seen, stress) + rest + _later(seen) + _spread(seen))


def _closed(stress: Stress) -> str:
    """Contracts that were closed although the fund could pay: for want of anybody who would take them."""
    if not stress.deleveraged:
        return ""
    closed = f"{usd(stress.deleveraged)} of the bankrupt accounts' contracts found no buyer"
    return f" {closed} and were closed against the other side at the current price, at no loss to it."


def _emptied(seen: Snapshot, stress: Stress) -> str:
    """That the fund did not pay all, and why."""
    paid, left = stress.absorbed.get("fund", 0.0), seen.table.last("fund")
    share = f"it paid {usd(paid)} of {usd(stress.deficits)} lost beyond margin"
    since = seen.table["hours"] > stress.start
    if float(seen.table["fund"][since].min()) <= EMPTY * paid:
        again = f", and has been filled again to {usd(left)}" if left > EMPTY * paid else ""
        return f"The fund {'was' if again else 'is'} exhausted: {share}{again}."
    return f"The fund did not pay all, {_limit(seen)}: {share}, and holds {usd(left)} now."


def _limit(seen: Snapshot) -> str:
    """What keeps a fund that is not empty from paying."""
    house = seen.world.venues[0].clearinghouse
    if len(seen.pools) > 1:
        return "for it is divided into pools and not every pool had enough"
    if house.pools.claims:
        return "for each market may claim only so much of it"
    if any(isinstance(layer, BackstopFund.Parameters) and layer.share < 1.0 for layer in house.waterfall):
        return "for one loss may use only a part of it"
    if any(isinstance(layer, Deleveraging.Parameters) and layer.drawdown < 1.0 for layer in house.waterfall):
        return "for winners come before it once it has lost a part of what it held"
    return "for at the time it had less"


def _ended(seen: Snapshot, whole: Stress) -> Headline:
    """The whole run in a sentence, for its last hours need not be those that mattered."""
    payers = [f"the fund {usd(whole.absorbed['fund'])}"] if whole.absorbed.get("fund") else []
    text = f"The run is over: {usd(whole.deficits)} was lost beyond margin, and paid by {_listed(payers + _others(seen, whole))}."
    return Headline("empty" if whole.residual > 0.0 else "stress", text + _later(seen) + _spread(seen))


def _others(seen: Snapshot, stress: Stress) -> list[str]:
    """Who else than the fund has paid, in waterfall order."""
    asked = [layer for layer in seen.layers if layer not in ITS_OWN and stress.absorbed.get(layer)]
    return [PAYERS.get(layer, f"layer {words(layer)} {{usd}}").format(usd=usd(stress.absorbed[layer])) for layer in asked]


def _later(seen: Snapshot) -> str:
    """What nobody has paid yet."""
    outstanding = seen.table.last("outstanding")
    return f" {usd(outstanding)} is yet to be borne by account holders." if outstanding > 0.0 else ""


def _calm(seen: Snapshot, stress: Stress | None) -> str:
    """How the fund fills."""
    table = seen.table
    fund, target = usd(table.last("fund")), usd(table.last("fund_target"))
    if seen.step == 0:
        return f"The exchange opens with {fund} in its backstop fund; its own rule asks for {target}. Press ▶ to see how the fund fills."
    since = 0 if stress is None else int((table["hours"] <= stress.end).sum())
    income, given = (sum(float(table[FLOW_COLUMNS[flow]][since:].sum()) for flow in flows) for flows in (INFLOWS, OWNERS))
    span = _span(seen.hours - (0.0 if stress is None else stress.end))
    owners = f", the exchange and its owners {usd(given)}" if given else ""
    before = ""
    if stress is not None and seen.whole is not None:
        before = f" Before that it paid {usd(seen.whole.absorbed.get('fund', 0.0))} of {usd(seen.whole.deficits)} lost beyond margin."
    put = f"Calm for {span}: fees and levies have put {usd(income)} into the fund{owners}."
    return f"{put} It holds {fund}; its target is {target}.{before}"


def _spread(seen: Snapshot) -> str:
    """What has become of institutions."""
    defaults, contagious = int(seen.total("defaults")), int(seen.total("contagious_defaults"))
    if not defaults:
        return ""
    by = f", {contagious} of them pulled down by others" if contagious else ""
    return f" {defaults} {'institution has' if defaults == 1 else 'institutions have'} defaulted{by}."


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{'; '.join(items[:-1])}; and {items[-1]}" if items else "nobody"


def _span(hours: float) -> str:
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
