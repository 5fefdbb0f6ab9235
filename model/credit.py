"""Balance sheets outside the exchanges: lenders' cash and loans, and how a default travels through them.

Nodes are lenders, then market makers, then liquidators, then exchanges. Borrowers keep all they have on exchanges, so a loan goes from a
lender's cash through the outside world to the borrower's margin accounts, and an estate comes back the same way.
"""

from dataclasses import dataclass, field, replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from agents.clock import HOURS_PER_YEAR
from agents.families import RuleParameters
from agents.lender import FundingView, LenderParameters, LenderView, Withdrawal, reconsider, withdrawal_rules
from model.contagion import Clearing
from model.events import Events
from model.failure import waiting
from model.firms import Firms
from model.ledger import Flow, Rows
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
    """Loans between lenders and to firms that trade at exchanges.

    Attributes:
        parameters: the lenders'.
        firms: the borrowers.
        cash: shape (L,), USD, lenders' liquid assets outside the exchanges.
        deposits: shape (L,), USD, what lenders owe outside the model.
        owed: shape (N, N), USD; [i, j] is what node i owes node j; N counts lenders, borrowers and exchanges.
        outside: USD that has left lenders' cash for venues and the outside world; with `cash` it sums to what it was.
        opening: shape (B,), USD, borrowers' debt at the start.
        capital: shape (L,), USD, lenders' equity at the start.
        withdrawn_until: shape (L,), hours since the start until which a lender's lines stay withdrawn, and whether they are: withdrawn.
        estates: step and shape (L,), USD, of what estates of defaulters are yet to pay; that money is part of `outside` until then.
        wave: shape (N,), wave of default, -1 for none; defaulted_at: step of default, -1 for none.
    """

    parameters: LenderParameters
    cash: Floats
    deposits: Floats
    owed: Floats
    firms: Firms
    payments: Payments
    opening: Floats
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
        firms: Firms,
        rng: np.random.Generator,
        payments: Payments,
    ) -> "Credit":
        """Draws the network and pays out the opening loans, in proportion to borrowers' own capital."""
        lenders, borrowers = parameters.count, firms.count
        nodes = lenders + borrowers
        graph, _ = topologies.build(topology).rule(Places(lenders, borrowers, firms.makers), None, rng)
        weights = nx.to_numpy_array(graph, nodelist=range(nodes), weight="weight") if nodes else np.zeros((0, 0))
        capital = by_rank(parameters.capital, lenders)
        wanted = np.concatenate((parameters.interbank * capital, parameters.loan_to_capital * firms.own))
        owed = np.zeros((nodes + len(firms.venues),) * 2)
        owed[:nodes, :nodes] = (weights * wanted).T
        funds = capital * (1.0 + parameters.deposits)
        lent = owed[:, :lenders].sum(axis=0) - owed[:lenders, :].sum(axis=1)
        scale = np.where(lent > 0.8 * funds, 0.8 * funds / np.where(lent > 0.0, lent, 1.0), 1.0)
        owed[lenders:nodes, :lenders] *= scale
        lent = owed[:, :lenders].sum(axis=0) - owed[:lenders, :].sum(axis=1)
        credit = cls(
            parameters,
            cash=funds - lent,
            deposits=capital * parameters.deposits,
            owed=owed,
            firms=firms,
            payments=payments,
            opening=owed[lenders:nodes, :lenders].sum(axis=1),
            capital=capital,
            withdrawal=[withdrawal_rules.build(p) for p in parameters.withdrawal],
            withdrawn=np.zeros(lenders, dtype=bool),
            withdrawn_until=np.zeros(lenders),
            wave=np.full(owed.shape[0], -1, dtype=np.int64),
            defaulted_at=np.full(owed.shape[0], -1, dtype=np.int64),
        )
        firms.receive(Flow.LOAN, firms.division * credit.opening)
        credit.outside = -float(credit.cash.sum())
        return credit

    @property
    def lenders(self) -> int:
        """Number of lenders."""
        return self.cash.size

    @property
    def nodes(self) -> int:
        """Number of lenders and borrowers; exchanges come after them."""
        return self.cash.size + self.firms.count

    @property
    def own(self) -> Floats:
        """Shape (B,), USD: borrowers' own capital at the start."""
        return self.firms.own

    @property
    def rows(self) -> Rows:
        """Ledger rows of the borrowers that have an account at the first exchange."""
        return self.firms.rows[0]

    @property
    def loans(self) -> Floats:
        """Shape (B, L), USD: what each borrower owes each lender."""
        return self.owed[self.lenders : self.nodes, : self.lenders]

    def debt(self) -> Floats:
        """Shape (B,), USD: what borrowers owe lenders."""
        owed: Floats = self.loans.sum(axis=1)
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

    def serve(self, hours: float) -> None:
        """Interest is paid, loans above the limit are called, loans below it extended, as far as free margin and lenders' cash go."""
        firms = self.firms
        trading = [venue for venue in firms.venues if venue.is_open()]
        if not firms.count or not trading:
            return
        p, channels = self.parameters, trading[0].channels
        over_calm = [venue.market.volatility / np.maximum(venue.reference_volatility, 1e-12) for venue in trading]
        stress = float(np.concatenate(over_calm).mean())
        if channels.funding_withdrawal:
            self._reconsider_lines(stress, trading[0].hours)
        if self.withdrawn.any():
            self._run_off(hours)
        loans = self.loans
        debt = loans.sum(axis=1)
        equity, initial, usable, sound = firms.equity(), firms.initial(), firms.active() & firms.open, firms.sound()
        free = np.maximum(equity - initial, 0.0) * usable
        able = free.sum(axis=0)
        interest = np.minimum(debt * np.expm1(p.rate * hours / HOURS_PER_YEAR), able)
        change = reconsider(p, LenderView(equity.sum(axis=0) - debt, debt, self.opening, stress, hours)) * sound
        if not channels.funding_withdrawal:
            change = np.maximum(change, 0.0)
        shares = np.divide(loans, debt[:, None], out=np.zeros_like(loans), where=debt[:, None] > 0.0)
        repaid = np.minimum(np.maximum(-change, 0.0), able - interest)
        parts = firms.split(free)
        within = firms.within_custody(parts * interest, parts * repaid)
        paid = (parts * interest * within, parts * repaid * within)
        interest, repaid = (usd.sum(axis=0) for usd in paid)
        lent = self._affordable(np.maximum(change, 0.0)[:, None] * self._opening_shares(loans))
        loans += lent - shares * repaid[:, None]
        self.cash += (shares * (interest + repaid)[:, None]).sum(axis=0) - lent.sum(axis=0)
        self.outside -= float((interest + repaid).sum() - lent.sum())
        for kind, usd in zip((Flow.INTEREST, Flow.REPAYMENT), paid, strict=True):
            firms.pay(kind, usd)
        firms.receive(Flow.LOAN, firms.split(firms.division * usable) * lent.sum(axis=1))
        self._distribute(initial, usable, sound)

    def _reconsider_lines(self, stress: float, clock: float) -> None:
        """Lenders with a reason withdraw their lines, and keep them withdrawn for a while."""
        if not self.withdrawal:
            return
        view = FundingView(self.lender_equity(), self.capital, self.cash, self.deposits, stress, clock)
        reasons = np.array([rule.rule(view, None, None)[0] for rule in self.withdrawal]).any(axis=0)
        self.withdrawn_until = np.where(reasons, clock + self.parameters.withdrawn_for, self.withdrawn_until)
        self.withdrawn = (reasons | (clock < self.withdrawn_until)) & (self.wave[: self.lenders] < 0)

    def _run_off(self, hours: float) -> None:
        """Loans of lenders that have withdrawn are not rolled over: what matures is repaid as far as free margin and cash go."""
        firms, lenders, nodes = self.firms, self.lenders, self.nodes
        due = self.owed[:nodes, :lenders] * (-np.expm1(-hours / self.parameters.term) * self.withdrawn)
        initial = firms.initial()
        free = np.maximum(firms.equity() - initial, 0.0) * (firms.active() & firms.open)
        total = due.sum(axis=1)
        able = np.concatenate((np.maximum(self.cash, 0.0), free.sum(axis=0)))
        due *= np.minimum(np.divide(able, total, out=np.ones_like(total), where=total > 0.0), 1.0)[:, None]
        parts = firms.split(free)
        payable = parts * firms.within_custody(parts * due[lenders:].sum(axis=1))
        due[lenders:] *= payable.sum(axis=0)[:, None]
        self.owed[:nodes, :lenders] -= due
        self.cash += due.sum(axis=0) - due[:lenders].sum(axis=1)
        self.outside -= float(due[lenders:].sum())
        firms.pay(Flow.REPAYMENT, firms.split(payable) * due[lenders:].sum(axis=1))

    def redeem(self, venue: Venue) -> None:
        """An exchange has failed and pays out: borrowers repay their loans as far as what they get goes."""
        firms, loans = self.firms, self.loans
        at = firms.venues.index(venue)
        debt = loans.sum(axis=1)
        due = np.minimum(debt, np.maximum(firms.equity()[at], 0.0))
        due = due * venue.within_custody(float(due.sum()))
        paid = loans * np.divide(due, debt, out=np.zeros_like(due), where=debt > 0.0)[:, None]
        loans -= paid
        self.cash += paid.sum(axis=0)
        self.outside -= float(paid.sum())
        firms.pay(Flow.REPAYMENT, (np.arange(len(firms.venues)) == at)[:, None] * paid.sum(axis=1))

    def _distribute(self, initial: Floats, usable: NDArray[np.bool_], sound: NDArray[np.bool_]) -> None:
        """What borrowers have earned beyond their own opening capital, and margin does not hold twice over, they pay out."""
        firms = self.firms
        equity, debt, division = firms.equity(), self.debt(), firms.division
        spare = np.where(usable, equity - 2.0 * initial, 0.0)
        free = np.maximum(np.minimum(equity.sum(axis=0) - debt - self.own, spare.sum(axis=0)), 0.0) * sound
        earned = np.maximum(np.minimum(equity - division * debt - division * self.own, spare), 0.0)  # each account's part of it
        most = earned.sum(axis=0)
        part = np.minimum(np.divide(free, most, out=np.zeros_like(free), where=most > 0.0), 1.0)
        firms.take_out(Flow.DISTRIBUTION, earned * part)

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

    def worths(self) -> Floats:
        """Shape (N,), USD: what each node has, less what it owes; an exchange's is its fund and capital, less written-down claims."""
        borrowers = self.firms.equity().sum(axis=0) - self.debt()
        exchanges = [venue.ledger.fund + venue.ledger.treasury - venue.write_down for venue in self.firms.venues]
        return np.concatenate((self.lender_equity(), borrowers, exchanges))

    def clear(self, step: int, events: Events) -> Outcome:
        """Clears the network if anybody cannot pay, on loans and claims on exchanges together, and books the payments."""
        self._pay_estates(step)
        worths, nodes = self.worths(), self.nodes
        fresh = self.wave < 0
        dust = 1e-9 * (np.abs(self.owed).sum(axis=1) + 1.0)
        closed = [venue.insolvent for venue in self.firms.venues]
        fails = np.concatenate((np.zeros(self.lenders, dtype=bool), self.firms.broken(), closed)) & fresh
        if not (fresh & (worths < -dust)).any() and not fails.any():
            return Outcome()
        clearing = self._solve()
        failed = clearing.defaulted & fresh | fails
        clearing_waves = np.where(failed, np.maximum(clearing.waves, 1), -1)
        if not failed.any():
            return Outcome()
        outcome = self._book(clearing, failed, events, step)
        if self.payments.in_full:
            self.firms.venues[0].tally.rescue("credit_loss", outcome.reserve)
        self.wave = np.where(failed, clearing_waves, self.wave)
        self.defaulted_at = np.where(failed, step, self.defaulted_at)
        events.add("default", "", account=np.flatnonzero(failed), amount=-worths[failed], layer="network")
        waves = clearing_waves[failed]
        first = -float(np.minimum(worths, 0.0)[:nodes][clearing_waves[:nodes] == 1].sum())
        return replace(outcome, initial=first, defaults=int(failed.sum()), contagious=int((waves > 1).sum()), waves=int(waves.max()))

    def _solve(self) -> Clearing:
        firms, nodes, lenders = self.firms, self.nodes, self.lenders
        liabilities, equity, written = self.owed.copy(), firms.equity(), firms.written_down()
        claims = np.maximum(equity, 0.0) + written
        liabilities[nodes:, lenders:nodes] = claims
        below = np.minimum(equity, 0.0).sum(axis=0)
        assets = np.concatenate((np.maximum(self.cash + self.pending, 0.0), np.zeros(firms.count + len(firms.venues))))
        outside = np.concatenate((self.deposits, -below, np.zeros(len(firms.venues))))
        for at, venue in enumerate(firms.venues):
            ledger = venue.ledger
            everything = ledger.equity()
            everything[: firms.rows[at].size + ledger.house] = 0.0
            others = float(np.maximum(everything, 0.0).sum())
            here = float(written[at].sum())
            written_others = venue.write_down + venue.tally.bankruptcy_costs - here
            if venue.failed_at is not None and venue.parameters.failure.seniority != "pari_passu":
                others = written_others = 0.0  # its estate is divided between classes of creditors before anybody here gets anything
            assets[nodes + at] = float(claims[at].sum()) - here + others + max(ledger.fund + ledger.treasury, 0.0)
            outside[nodes + at] = max(others + written_others, 0.0)  # a difference, where institutions alone have claims
        return self.payments.clear(liabilities, assets, outside, self.payments.parameters.margin * self.owed, len(firms.venues))

    def _book(self, clearing: Clearing, failed: NDArray[np.bool_], events: Events, step: int) -> Outcome:
        """Books what defaulters pay and what is paid to defaulting lenders; writes their debts off."""
        firms, lenders, nodes = self.firms, self.lenders, self.nodes
        paid = clearing.matrix().toarray()
        paid[nodes:] = 0.0
        fails = failed[:nodes]
        settles = paid[:nodes, :lenders].copy()
        settles[~fails] *= fails[:lenders]
        owed = self.owed[:nodes, :lenders]
        closing = (owed > 0.0) & (fails[:, None] | fails[None, :lenders])
        loss = float((clearing.nominal - clearing.payments)[:nodes][fails].sum())
        drawn = self._draw_margin(owed, paid[:nodes, :lenders], fails, events)
        firms.terminate(fails[lenders:])
        reserve = self._fall_back(clearing.reserve[:nodes] * fails, settles[lenders:].sum(axis=1))
        payable = self._payable(settles[lenders:].sum(axis=1))
        settles[lenders:] *= payable.sum(axis=0)[:, None]
        parts = firms.split(payable)
        firms.pay(Flow.ESTATE, parts * settles[lenders:].sum(axis=1))
        firms.dissolve(fails[lenders:])
        self._release(fails[:lenders])
        self.cash -= settles[:lenders].sum(axis=1)
        self._receive(settles, parts, fails, step)
        self.outside -= float(settles[lenders:].sum())
        self.owed[:nodes, :lenders] = np.where(closing, 0.0, owed)
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

    def _receive(self, settles: Floats, parts: Floats, fails: NDArray[np.bool_], step: int) -> None:
        """Lenders receive what is settled, (L + B, L), those that live on what estates pay only after the delay.

        What borrowers' estates have at an exchange, `parts`, (V, B), waits for that exchange, too, if it has failed and is to pay.
        """
        self.cash += settles.sum(axis=0)
        lenders = self.lenders
        waits = [(settles[:lenders], fails[:lenders], self.payments.steps())]
        for part, venue in zip(parts, self.firms.venues, strict=True):
            waits.append((settles[lenders:] * part[:, None], fails[lenders:], self.payments.steps(waiting(venue) or 0.0)))
        for settled, gone, steps in waits:
            if steps:
                later = np.where(gone[:, None] & ~fails[None, :lenders], settled, 0.0).sum(axis=0)
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

    def _fall_back(self, reserve: Floats, due: Floats) -> float:
        """A reserve pays what defaulters, (L + B,), pay beyond what they have, borrowers what is `due` to lenders, (B,). Returns USD."""
        if not reserve.any():
            return 0.0
        lenders, firms = self.lenders, self.firms
        held = np.maximum(firms.equity(), 0.0)
        lacks = np.maximum(due - held.sum(axis=0), 0.0)
        paid = np.concatenate((reserve[:lenders], np.minimum(reserve[lenders:], lacks)))
        self.cash += paid[:lenders]
        self.outside -= float(paid[:lenders].sum())
        firms.receive(Flow.RESERVE, firms.split(held) * paid[lenders:])
        return float(paid.sum())

    def _payable(self, due: Floats) -> Floats:
        """Shape (V, B): part of what borrowers are due to pay, (B,), that accounts and custody of each exchange can."""
        firms = self.firms
        held = np.maximum(firms.equity(), 0.0)
        parts = firms.split(held)
        asked = parts * due
        part = np.minimum(np.divide(held, asked, out=np.ones_like(asked), where=asked > 0.0), 1.0)
        return parts * part * firms.within_custody(part * asked)
