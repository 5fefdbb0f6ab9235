"""Margin on options taken one by one, as exchanges ask it of accounts that are not margined by portfolio."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clearinghouse.margin import LinearRamp, Margin, MarginView, margin_rules

type Floats = NDArray[np.float64]


@margin_rules.member
class StandardOptions(LinearRamp):
    """A part of the index for each short option, the premium for each long one; other contracts by a ramp (Deribit, standard margin).

    Of a short option, beyond its mark, with S the index and M the mark:

    - call: initial max(0.15 - OTM / S, 0.10) S, maintenance 0.075 S;
    - put: maintenance max(0.075 S, 0.075 M), initial the larger of that and a call's.

    The published formulas add the mark, and are asked of a balance without options' values; equity here counts what options are worth:
    a short one's mark has been taken off it already, and a long one's is asked back in full. Aevo: the same initial margin, and 0.10 in
    place of 0.075.
    """

    name = "standard_options"

    class Parameters(LinearRamp.Parameters):
        type: Literal["standard_options"] = "standard_options"  # type: ignore[assignment]
        short: float = Field(
            default=0.15,
            gt=0,
            le=1,
            description="initial margin of a short option at the money, on the index",
            json_schema_extra={"unit": "1", "source": "Deribit, Aevo"},
        )
        short_least: float = Field(
            default=0.10,
            gt=0,
            le=1,
            description="least initial margin of a short option, on the index",
            json_schema_extra={"unit": "1", "source": "Deribit, Aevo"},
        )
        short_maintenance: float = Field(
            default=0.075,
            gt=0,
            le=1,
            description="maintenance margin of a short option, on the index; of a put on its mark if that is more",
            json_schema_extra={"unit": "1", "source": "Deribit; Aevo: 0.10"},
        )

        @model_validator(mode="after")
        def _rates(self) -> "StandardOptions.Parameters":
            if not self.short_maintenance <= self.short_least <= self.short:
                raise ValueError("expected short_maintenance <= short_least <= short")
            return self

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        option = view.sign != 0.0
        others, _ = super().rule(replace(view, notional=np.where(option[:, None], 0.0, view.notional)), None, None)
        initial, maintenance = (self._of(view, per_contract) for per_contract in self._short(view))
        return Margin(others.initial + initial[option].sum(axis=0), np.where(option[:, None], maintenance, others.by_market)), state

    def _short(self, view: MarginView) -> tuple[Floats, Floats]:
        """Shape (M,), USD: initial and maintenance margin of one short contract beyond its mark."""
        p, index = self.parameters, view.units
        beyond = np.maximum(view.sign * (view.strike - index), 0.0)
        maintenance = p.short_maintenance * np.where(view.sign < 0.0, np.maximum(index, view.marks), index)
        return np.maximum(np.maximum(p.short * index - beyond, p.short_least * index), maintenance), maintenance

    def _of(self, view: MarginView, short: Floats) -> Floats:
        """Shape (M, n), USD, of accounts."""
        held = view.position
        asked: Floats = np.where(held > 0.0, held * view.marks[:, None], -held * short[:, None])
        return asked
