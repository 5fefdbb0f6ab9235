"""The probability of a rare event by importance sampling: the shock is drawn where it matters and weighted by an exact likelihood ratio.

What is tilted is one draw a replication: the log return of a stated shock, from a stated law f. Everything else in a run is drawn from
its seed as ever, so that the ratio f(x) / g(x) is the whole ratio, known to the last bit. With Z = 1{event} f(X) / g(X) and X from g,

    p = E_f[1{event}] = E_g[Z],    estimated by the mean of independent Z, without bias, whatever g > 0 where f > 0 and the event can be.

g is a defensive mixture, share × h + (1 − share) × f (Hesterberg, Technometrics 37, 1995; Owen & Zhou, J. American Statistical
Association 95, 2000): no weight exceeds 1 / (1 − share). h is f moved and widened. For a normal f that is moved but not widened, with a
share of one, g is f tilted exponentially (Siegmund, Annals of Statistics 4, 1976); a Student-t has no exponential moments and cannot
be tilted so, which is why the mixture is the rule here. Where h should lie is found by cross-entropy (Rubinstein & Kroese 2004, The
Cross-Entropy Method) from pilot runs that are not part of the estimate.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field
from scipy import stats

from agents.families import Parameters
from experiments.analysis.blocks import Floats
from experiments.analysis.intervals import Interval, bootstrap, stream, wilson

EVENTS_NEEDED: Final = 10
"""Pilot runs with the event below which no proposal is fitted, and effective runs below which an interval is not to be trusted."""

TOO_FEW: Final = "none: too few effective runs with the event"


class Normal(Parameters):
    """A normal log return."""

    type: Literal["normal"] = "normal"
    location: float = Field(0.0, description="mean log return", json_schema_extra={"unit": "1"})
    scale: float = Field(gt=0, description="standard deviation of the log return", json_schema_extra={"unit": "1"})

    @property
    def frozen(self) -> Any:
        """The law as SciPy has it."""
        return stats.norm(self.location, self.scale)


class StudentT(Parameters):
    """A log return with power-law tails."""

    type: Literal["student_t"] = "student_t"
    location: float = Field(0.0, description="median log return", json_schema_extra={"unit": "1"})
    scale: float = Field(gt=0, description="scale of the log return", json_schema_extra={"unit": "1"})
    degrees: float = Field(gt=0, description="degrees of freedom: the tail exponent")

    @property
    def frozen(self) -> Any:
        """The law as SciPy has it."""
        return stats.t(self.degrees, self.location, self.scale)


type Law = Annotated[Normal | StudentT, Field(discriminator="type")]


class Proposal(Parameters):
    """Where a law is drawn instead: a mixture of itself with itself moved and widened."""

    shift: float = Field(0.0, description="how far the law is moved", json_schema_extra={"unit": "log return"})
    widen: float = Field(1.0, gt=0, description="by what factor its scale is widened")
    share: float = Field(0.9, ge=0, le=1, description="part of the draws from the moved law; the rest is drawn from the law itself")

    def moved(self, law: Normal | StudentT) -> Normal | StudentT:
        """h: the law moved and widened."""
        return law.model_copy(update={"location": law.location + self.shift, "scale": law.scale * self.widen})

    def draw(self, law: Normal | StudentT, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(n,) independent draws from g, and their weights f / g."""
        moved = self.moved(law).frozen
        from_moved = rng.random(count) < self.share
        both = moved.rvs(size=count, random_state=rng), law.frozen.rvs(size=count, random_state=rng)
        values = np.where(from_moved, *both)
        return values, self.weights(law, values)

    def weights(self, law: Normal | StudentT, values: Floats) -> Floats:
        """(n,) likelihood ratios f / g at these values, by logarithms."""
        plain, moved = law.frozen.logpdf(values), self.moved(law).frozen.logpdf(values)
        with np.errstate(divide="ignore"):
            mixture = np.logaddexp(np.log(self.share) + moved, np.log1p(-self.share) + plain)
        return np.asarray(np.exp(plain - mixture))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A probability and how well it is known.

    Attributes:
        probability: the mean of event × weight.
        error: its standard error.
        low, high, interval: 95 % interval and its kind; none where few runs with the event carry the weight: it would be too narrow.
        runs: runs in the estimate; events: how many of them had the event.
        effective: Kish's effective sample size of all weights, (Σw)² / Σw²; effective_events: of those of runs with the event.
        weight: the mean weight, 1 but for chance: the check of the ratio; weight_error: its standard error.
        reduction: variance of as many plain Monte Carlo runs over this estimate's; not a number without events.
    """

    probability: float
    error: float
    low: float
    high: float
    interval: str
    runs: int
    events: int
    effective: float
    effective_events: float
    weight: float
    weight_error: float
    reduction: float


def estimate(events: Floats, weights: Floats, seed: int) -> Estimate:
    """The estimate from independent runs: (n,) events as 0 or 1, (n,) weights; all ones are plain Monte Carlo.

    Raises:
        ValueError: fewer than two runs, or an event that is neither 0 nor 1.
    """
    count = events.size
    if count < 2 or not np.isin(events, (0.0, 1.0)).all():
        raise ValueError(f"events: found {count} values, expected two or more, each 0 or 1")
    parts = events * weights
    probability, error = float(parts.mean()), float(stats.sem(parts))
    plain = bool((weights == 1.0).all())
    few = _kish(parts) < EVENTS_NEEDED
    weighted = Interval(np.nan, np.nan, TOO_FEW) if few else bootstrap(parts, stream(seed, "rare"))
    interval = wilson(int(events.sum()), count) if plain else weighted
    return Estimate(
        probability,
        error,
        *interval,
        runs=count,
        events=int(events.sum()),
        effective=_kish(weights),
        effective_events=_kish(parts),
        weight=float(weights.mean()),
        weight_error=float(stats.sem(weights)),
        reduction=probability * (1.0 - probability) / ((count - 1) * error**2) if error > 0.0 else float("nan"),
    )


def fit(law: Normal | StudentT, values: Floats, weights: Floats, events: Floats, share: float) -> Proposal:
    """The proposal closest to the law given the event, in cross-entropy, from pilot runs: (n,) each, drawn and weighted as they were.

    Location and scale are the weighted mean and standard deviation of the draws with the event: the closest of all normal laws; for a
    Student-t as good a place, and the estimate is exact with any.

    Raises:
        ValueError: too few pilot runs had the event.
    """
    hit = events > 0
    if hit.sum() < EVENTS_NEEDED:
        raise ValueError(f"pilot: found {int(hit.sum())} runs with the event, expected {EVENTS_NEEDED} or more: widen it")
    centre = float(np.average(values[hit], weights=weights[hit]))
    spread = float(np.sqrt(np.average((values[hit] - centre) ** 2, weights=weights[hit])))
    return Proposal(shift=centre - law.location, widen=max(spread / law.scale, 0.25), share=share)


def _kish(weights: Floats) -> float:
    """(Σw)² / Σw² (Kish, Survey Sampling, 1965); 0 without weight."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0
