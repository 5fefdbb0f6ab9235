"""How large the fund should be."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange


def target(exchange: "Exchange", interest: list[float]) -> float:
    """USD that the scenario's rule asks for in the markets of one pool; `interest`: USD open there, 0 in others."""
    rule: Any = exchange.rules.sizing
    match rule.type:
        case "open_interest":
            return float(rule.share * sum(interest))
        case "fixed":
            return float(rule.amount)
        case unknown:
            raise NotImplementedError(f"the twin has no sizing rule {unknown!r}")
