"""Balance sheets outside the venue: lenders' cash and loans, and how a default travels through them.

Nodes are lenders, then market makers, then liquidators, then the exchange. Borrowers keep all they have on the venue, so a loan goes from a
lender's cash through the outside world to the borrower's margin account, and an estate comes back the same way.
"""

from dataclasses import dataclass, field, replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from agents.clock import HOURS_PER_YEAR
from agents.families import RuleParameters
from agents.lender import FundingView, LenderParameters, LenderView, Withdrawal, reconsider, withdrawal_rules
from model.clearing import terminate
from model.contagion import Clearing
from model.events import Events
from model.failure import waiting
from model.ledger import OUTSIDE, Flow, Ledger, Rows, Status
from model.network import Places, topologies
from model.payments import Payments
from model.venue import Venue

type Floats = NDArray[np.float64]


def by_rank(total: float, count: int) -> Floats:
    """Shape (count,), USD: `total` divided in proportion to 1 / rank."""
    weights = 1.0 / np.arange(1, count + 1)
    return total * weights / weights.sum() if count else weights


@dataclass
class Outcome:
    """What credit did in a step: new defaults, those among them that are contagious, waves, and USD that creditors lost.

    `initial` is USD that those lacked that failed alone; `reserve` and `margin` are USD that creditors got from elsewhere: from the
    reserve, and of margin that they held.
    """

    defaults: int = 0
    contagious: int = 0
    waves: int = 0
    loss: float = 0.0
    initial: float = 0.0
    reserve: float = 0.0
    margin: float = 0.0


@dataclass
class Credit:
    """Loans between lenders and to a venue's institutions.

    Attributes:
        parameters: the lenders'.
        cash: shape (L,), USD, lenders' liquid assets outside the venue.
        deposits: shape (L,), USD, what lenders owe outside the model.
        owed: shape (N, N), USD; [i, j] is what node i owes node j; N counts lenders, borrowers and the exchange (last).
        outside: USD that has left lenders' cash for venues and the outside world; with `cash` it sums to what it was.
        rows: shape (B,), the borrowers' ledger rows.
        opening: shape (B,), USD, borrowers' debt at the start; own: shape (B,), USD, their own capital then.
        capital: shape (L,), USD, lenders' equity at the start.
        withdrawn_until: shape (L,), hours since the start until which a lender's lines stay withdrawn, and whether they are: withdrawn.
        estates: step and shape (L,), USD, of what estates of defaulters are yet to pay; that money is part of `outside` until then.
        wave: shape (N,), wave of default, -1 for none; defaulted_at: step of default, -1 for none.
    """

    parameters: LenderParameters
    cash: Floats
    deposits: Floats
    owed: Floats
    rows: Rows
    payments: Payments
    opening: Floats
    own: Floats
    capital: Floats
    withdrawal: list[Withdrawal]
    withdrawn: NDArray[np.bool_]
    withdrawn_until: Floats
    estates: list[tuple[int, Floats]] = field(default_factory=list)
    outside: float = 0.0
    wave: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    defaulted_at: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def opened(
        cls,
        parameters: LenderParameters,
        topology: RuleParameters,
        venue: Venue,
        own: Floats,
        rng: np.random.Generator,
        payments: Payments,
    ) -> "Credit":
        """Draws the network and pays out the opening loans: `own`, shape (B,), USD, is each borrower's own capital."""
        lenders, borrowers = parameters.count, own.size
        graph, _ = topologies.build(topology).rule(Places(lenders, borrowers, venue.makers.size), None, rng)
        weights = (
            nx.to_numpy_array(graph, nodelist=range(lenders + borrowers), weight="weight") if lenders + borrowers else np.zeros((0, 0))
        )
        capital = by_rank(parameters.capital, lenders)
        wanted = np.concatenate((parameters.interbank * capital, parameters.loan_to_capital * own))
        owed = np.zeros((lenders + borrowers + 1, lenders + borrowers + 1))
        owed[:-1, :-1] = (weights * wanted).T
        funds = capital * (1.0 + parameters.deposits)
        lent = owed[:, :lenders].sum(axis=0) - owed[:lenders, :].sum(axis=1)
        scale = np.where(lent > 0.8 * funds, 0.8 * funds / np.where(lent > 0.0, lent, 1.0), 1.0)
        owed[lenders:-1, :lenders] *= scale
        lent = owed[:, :lenders].sum(axis=0) - owed[:lenders, :].sum(axis=1)
        credit = cls(
            parameters,
            cash=funds - lent,
            deposits=capital * parameters.deposits,
            owed=owed,
            rows=np.concatenate((venue.makers, venue.liquidators)),
            payments=payments,
            opening=owed[lenders:-1, :lenders].sum(axis=1),
            own=own,
            capital=capital,
            withdrawal=[withdrawal_rules.build(p) for p in parameters.withdrawal],
            withdrawn=np.zeros(lenders, dtype=bool),
            withdrawn_until=np.zeros(lenders),
            wave=np.full(owed.shape[0], -1, dtype=np.int64),
            defaulted_at=np.full(owed.shape[0], -1, dtype=np.int64),
        )
        venue.ledger.transfer(Flow.LOAN, OUTSIDE, credit.rows, credit.opening)
        credit.outside = -float(credit.cash.sum())
        return credit

    @property
    def lenders(self) -> int:
        """Number of lenders."""
        return self.cash.size

    def debt(self) -> Floats:
        """Shape (B,), USD: what borrowers owe lenders."""
        owed: Floats = self.owed[self.lenders : -1, : self.lenders].sum(axis=1)
        return owed

    @property
    def pending(self) -> Floats:
        """Shape (L,), USD: what estates of defaulters are yet to pay."""
        return sum((due for _, due in self.estates), np.zeros(self.lenders))

    def lender_equity(self) -> Floats:
        """Shape (L,), USD: cash, loans and what estates are yet to pay, less deposits and debts."""
        own: Floats = self.cash + self.owed[:, : self.lenders].sum(axis=0) - self.owed[: self.lenders].sum(axis=1) - self.deposits
        return own + self.pending if self.estates else own

    # -- everyday lending -----------------------------------------------------------------------------------------------------------

    def serve(self, venue: Venue, hours: float) -> None:
        """Interest is paid, loans above the limit are called, loans below it extended, as far as free margin and lenders' cash go."""
        if not self.rows.size or venue.insolvent:
            return
        p, ledger, lenders = self.parameters, venue.ledger, self.lenders
        reference = np.maximum(venue.reference_volatility, 1e-12)
        stress = float((venue.market.volatility / reference).mean())
        if venue.channels.funding_withdrawal:
            self._reconsider_lines(stress, venue.hours)
        if self.withdrawn.any():
            self._run_off(venue, hours)
        loans = self.owed[lenders:-1, :lenders]
        debt = loans.sum(axis=1)
        equity = ledger.equity(self.rows)
        active = ledger.status[self.rows] == Status.ACTIVE
        margin = venue.margin_of(ledger, self.rows)
        free = np.maximum(equity - margin.initial, 0.0) * active
        interest = np.minimum(debt * np.expm1(p.rate * hours / HOURS_PER_YEAR), free)
        change = reconsider(p, LenderView(equity - debt, debt, self.opening, stress, hours)) * active
        if not venue.channels.funding_withdrawal:
            change = np.maximum(change, 0.0)
        shares = np.divide(loans, debt[:, None], out=np.zeros_like(loans), where=debt[:, None] > 0.0)
        repaid = np.minimum(np.maximum(-change, 0.0), free - interest)
        within = venue.within_custody(float(interest.sum() + repaid.sum()))
        interest, repaid = interest * within, repaid * within
        lent = self._affordable(np.maximum(change, 0.0)[:, None] * self._opening_shares(loans))
        self.owed[lenders:-1, :lenders] += lent - shares * repaid[:, None]
        self.cash += (shares * (interest + repaid)[:, None]).sum(axis=0) - lent.sum(axis=0)
        self.outside -= float((interest + repaid).sum() - lent.sum())
        for kind, amount in ((Flow.INTEREST, interest), (Flow.REPAYMENT, repaid)):
            if amount.any():
                ledger.transfer(kind, self.rows, OUTSIDE, amount)
        if lent.any():
            ledger.transfer(Flow.LOAN, OUTSIDE, self.rows, lent.sum(axis=1))
        self._distribute(venue, margin.initial, active)

    def _reconsider_lines(self, stress: float, clock: float) -> None:
        """Lenders with a reason withdraw their lines, and keep them withdrawn for a while."""
        if not self.withdrawal:
            return
        view = FundingView(self.lender_equity(), self.capital, self.cash, self.deposits, stress, clock)
        reasons = np.array([rule.rule(view, None, None)[0] for rule in self.withdrawal]).any(axis=0)
        self.withdrawn_until = np.where(reasons, clock + self.parameters.withdrawn_for, self.withdrawn_until)
        self.withdrawn = (reasons | (clock < self.withdrawn_until)) & (self.wave[: self.lenders] < 0)

    def _run_off(self, venue: Venue, hours: float) -> None:
        """Loans of lenders that have withdrawn are not rolled over: what matures is repaid as far as free margin and cash go."""
        ledger, lenders = venue.ledger, self.lenders
        due = self.owed[:-1, :lenders] * (-np.expm1(-hours / self.parameters.term) * self.withdrawn)
        margin = venue.margin_of(ledger, self.rows).initial
        free = np.maximum(ledger.equity(self.rows) - margin, 0.0) * (ledger.status[self.rows] == Status.ACTIVE)
        total = due.sum(axis=1)
        able = np.concatenate((np.maximum(self.cash, 0.0), free))
        due *= np.minimum(np.divide(able, total, out=np.ones_like(total), where=total > 0.0), 1.0)[:, None]
        due[lenders:] *= venue.within_custody(float(due[lenders:].sum()))
        self.owed[:-1, :lenders] -= due
        self.cash += due.sum(axis=0) - due[:lenders].sum(axis=1)
        self.outside -= float(due[lenders:].sum())
        ledger.transfer(Flow.REPAYMENT, self.rows, OUTSIDE, due[lenders:].sum(axis=1))

    def redeem(self, venue: Venue) -> None:
        """The exchange has failed and pays out: borrowers repay their loans as far as what they get goes."""
        ledger, lenders = venue.ledger, self.lenders
        loans = self.owed[lenders:-1, :lenders]
        debt = loans.sum(axis=1)
        due = np.minimum(debt, np.maximum(ledger.equity(self.rows), 0.0))
        due = due * venue.within_custody(float(due.sum()))
        paid = loans * np.divide(due, debt, out=np.zeros_like(due), where=debt > 0.0)[:, None]
        self.owed[lenders:-1, :lenders] -= paid
        self.cash += paid.sum(axis=0)
        self.outside -= float(paid.sum())
        ledger.transfer(Flow.REPAYMENT, self.rows, OUTSIDE, paid.sum(axis=1))

    def _distribute(self, venue: Venue, initial: Floats, active: NDArray[np.bool_]) -> None:
        """What borrowers have earned beyond their own opening capital, and margin does not hold twice over, they pay out."""
        equity = venue.ledger.equity(self.rows)
        free = np.minimum(equity - self.debt() - self.own, equity - 2.0 * initial)
        paid = np.maximum(free, 0.0) * active
        if paid.any():
            venue.pay_out(Flow.DISTRIBUTION, self.rows, paid)

    def _opening_shares(self, loans: Floats) -> Floats:
        """Shape (B, L): how a new loan divides over lenders that are neither in default nor withdrawn: as the present loan does."""
        total = loans.sum(axis=1, keepdims=True)
        lend = (self.wave[: self.lenders] < 0) & ~self.withdrawn
        shares: Floats = np.divide(loans, total, out=np.zeros_like(loans), where=total > 0.0) * lend
        return shares

    def _affordable(self, lent: Floats) -> Floats:
        asked = lent.sum(axis=0)
        able = np.divide(np.maximum(self.cash, 0.0), asked, out=np.ones_like(asked), where=asked > 0.0)
        return lent * np.minimum(able, 1.0)

    # -- default --------------------------------------------------------------------------------------------------------------------

    def worths(self, venue: Venue) -> Floats:
        """Shape (N,), USD: what each node has, less what it owes; the exchange's is its fund and capital, less written-down claims."""
        borrowers = venue.ledger.equity(self.rows) - self.debt()
        exchange = venue.ledger.fund + venue.ledger.treasury - venue.write_down
        return np.concatenate((self.lender_equity(), borrowers, [exchange]))

    def clear(self, venue: Venue, step: int, events: Events) -> Outcome:
        """Clears the network if anybody cannot pay, on loans and claims on the exchange together, and books the payments."""
        self._pay_estates(step)
        worths = self.worths(venue)
        fresh = self.wave < 0
        dust = 1e-9 * (np.abs(self.owed).sum(axis=1) + 1.0)
        fails = venue.insolvent and bool(fresh[-1])
        if not (fresh & (worths < -dust)).any() and not fails:
            return Outcome()
        clearing = self._solve(venue)
        failed = clearing.defaulted & fresh
        failed[-1] |= fails
        clearing_waves = np.where(failed, np.maximum(clearing.waves, 1), -1)
        if not failed.any():
            return Outcome()
        outcome = self._book(clearing, failed, venue, events, step)
        if self.payments.in_full:
            venue.tally.rescue("credit_loss", outcome.reserve)
        self.wave = np.where(failed, clearing_waves, self.wave)
        self.defaulted_at = np.where(failed, step, self.defaulted_at)
        events.add("default", "", account=np.flatnonzero(failed), amount=-worths[failed], layer="network")
        waves = clearing_waves[failed]
        first = -float(np.minimum(worths, 0.0)[:-1][clearing_waves[:-1] == 1].sum())
        return replace(outcome, initial=first, defaults=int(failed.sum()), contagious=int((waves > 1).sum()), waves=int(waves.max()))

    def _solve(self, venue: Venue) -> Clearing:
        ledger, lenders = venue.ledger, self.lenders
        liabilities = self.owed.copy()
        written = venue.written_down[self.rows] if venue.written_down is not None else np.zeros(self.rows.size)
        claims = np.maximum(ledger.equity(self.rows), 0.0) + written
        liabilities[-1, lenders:-1] = claims
        below = np.minimum(ledger.equity(self.rows), 0.0)
        assets = np.concatenate((np.maximum(self.cash + self.pending, 0.0), np.zeros(self.rows.size), [0.0]))
        everything = ledger.equity()
        everything[: self.rows.size + ledger.house] = 0.0
        others = float(np.maximum(everything, 0.0).sum())
        written_others = venue.write_down + venue.tally.bankruptcy_costs - float(written.sum())
        if venue.failed_at is not None and venue.parameters.failure.seniority != "pari_passu":
            others = written_others = 0.0  # its estate is divided between classes of creditors before anybody here gets anything
        assets[-1] = float(claims.sum()) - float(written.sum()) + others + max(ledger.fund + ledger.treasury, 0.0)
        owed_others = max(others + written_others, 0.0)  # a difference, where institutions alone have claims
        outside = np.concatenate((self.deposits, -below, [owed_others]))
        return self.payments.clear(liabilities, assets, outside, self.payments.parameters.margin * self.owed)

    def _book(self, clearing: Clearing, failed: NDArray[np.bool_], venue: Venue, events: Events, step: int) -> Outcome:
        """Books what defaulters pay and what is paid to defaulting lenders; writes their debts off."""
        ledger, lenders = venue.ledger, self.lenders
        paid = clearing.matrix().toarray()
        paid[-1] = 0.0
        fails = failed[:-1]
        borrowers = fails[lenders:]
        settles = paid[:-1, :lenders].copy()
        settles[~fails] *= fails[:lenders]
        owed = self.owed[:-1, :lenders]
        closing = (owed > 0.0) & (fails[:, None] | fails[None, :lenders])
        loss = float((clearing.nominal - clearing.payments)[:-1][fails].sum())
        drawn = self._draw_margin(owed, paid[:-1, :lenders], fails, events)
        terminate(venue, self.rows[borrowers])
        reserve = self._fall_back(clearing.reserve[:-1] * fails, settles[lenders:].sum(axis=1), ledger)
        settles[lenders:] *= self._payable(settles[lenders:].sum(axis=1), venue)[:, None]
        self._pay_from_accounts(settles[lenders:], borrowers, venue)
        self._release(fails[:lenders])
        self.cash -= settles[:lenders].sum(axis=1)
        self._receive(settles, fails, step, waiting(venue) or 0.0)
        self.outside -= float(settles[lenders:].sum())
        self.owed[:-1, :lenders] = np.where(closing, 0.0, owed)
        for lender in np.flatnonzero(fails[:lenders]):
            self.outside += float(self.cash[lender])
            self.cash[lender], self.deposits[lender] = 0.0, 0.0
        short = np.minimum(self.cash, 0.0)
        self.cash -= short
        self.deposits -= short
        self.outside += float(short.sum())
        creditor, debtor = np.nonzero(settles.T > 0.0)
        events.add("estate", "", account=debtor, amount=settles[debtor, creditor], layer="network")
        return Outcome(loss=max(loss - drawn, 0.0) if drawn else loss, reserve=reserve, margin=drawn)

    def _release(self, fails: NDArray[np.bool_]) -> None:
        """What other estates are yet to pay lenders that fail is theirs to pay with: their own estates pay no sooner."""
        for at, (step, due) in enumerate(self.estates):
            self.cash += due * fails
            self.outside -= float((due * fails).sum())
            self.estates[at] = (step, due * ~fails)

    def _receive(self, settles: Floats, fails: NDArray[np.bool_], step: int, frozen: float) -> None:
        """Lenders receive what is settled, (N - 1, L), those that live on what estates pay only after the delay.

        Borrowers' estates wait for a failed exchange, too, which is to pay in `frozen` hours.
        """
        self.cash += settles.sum(axis=0)
        lenders = self.lenders
        for debtors, steps in ((slice(0, lenders), self.payments.steps()), (slice(lenders, None), self.payments.steps(frozen))):
            if steps:
                later = np.where(fails[debtors, None] & ~fails[None, :lenders], settles[debtors], 0.0).sum(axis=0)
                self.cash -= later
                self.outside += float(later.sum())
                self.estates.append((step + steps, later))

    def _pay_estates(self, step: int) -> None:
        """Estates whose time has come pay lenders."""
        for due in [due for when, due in self.estates if when <= step]:
            self.cash += due
            self.outside -= float(due.sum())
        self.estates = [(when, due) for when, due in self.estates if when > step]

    def _draw_margin(self, owed: Floats, paid: Floats, fails: NDArray[np.bool_], events: Events) -> float:
        """Lenders draw on margin for what defaulters do not pay them of their debts, (N - 1, L); the rest of it goes back. Returns USD."""
        missing = np.maximum(owed - paid, 0.0) * fails[:, None]
        drawn = np.minimum(self.payments.parameters.margin * owed, missing)
        total = float(drawn.sum())
        if total > 0.0:
            self.cash += drawn.sum(axis=0)
            self.outside -= total
            debtor, creditor = np.nonzero(drawn)
            events.add("margin_drawn", "", account=debtor, amount=drawn[debtor, creditor], layer="network")
        return total

    def _fall_back(self, reserve: Floats, due: Floats, ledger: Ledger) -> float:
        """A reserve pays what defaulters, (N - 1,), pay beyond what they have, borrowers what is `due` to lenders, (B,). Returns USD."""
        if not reserve.any():
            return 0.0
        lenders = self.lenders
        lacks = np.maximum(due - np.maximum(ledger.equity(self.rows), 0.0), 0.0)
        paid = np.concatenate((reserve[:lenders], np.minimum(reserve[lenders:], lacks)))
        self.cash += paid[:lenders]
        self.outside -= float(paid[:lenders].sum())
        ledger.transfer(Flow.RESERVE, OUTSIDE, self.rows, paid[lenders:])
        return float(paid.sum())

    def _payable(self, due: Floats, venue: Venue) -> Floats:
        """Shape (B,): part of what borrowers are due to pay, (B,), that their accounts and custody hold once contracts have ended."""
        held = np.maximum(venue.ledger.equity(self.rows), 0.0)
        part = np.minimum(np.divide(held, due, out=np.ones_like(due), where=due > 0.0), 1.0)
        return part * venue.within_custody(float((part * due).sum()))

    def _pay_from_accounts(self, settles: Floats, failed: NDArray[np.bool_], venue: Venue) -> None:
        ledger, due = venue.ledger, settles.sum(axis=1)
        if due.any():
            ledger.transfer(Flow.ESTATE, self.rows, OUTSIDE, due)
        rows = self.rows[failed]
        rest = ledger.equity(rows)
        if (rest > 0.0).any():
            rest = np.maximum(rest, 0.0)
            ledger.transfer(Flow.WITHDRAWAL, rows, OUTSIDE, rest * venue.within_custody(float(rest.sum())))
        ledger.status[rows] = Status.BANKRUPT
