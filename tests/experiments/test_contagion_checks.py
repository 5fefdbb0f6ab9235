"""The checks of the contagion engines pass here, and would not if an engine were off."""

from collections.abc import Callable

import numpy as np
import pytest

from experiments import contagion_checks
from experiments.contagion_checks import CHECKS, Comparison
from experiments.validation import Check
from model.contagion import eisenberg_noe


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_every_comparison_is_within_its_tolerance(check: Callable[[], Comparison]) -> None:
    assert Check(*check()).passed


def test_an_engine_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contagion_checks, "paddrik_rajan_young", lambda *_: eisenberg_noe())
    what, source, target, found, tolerance = contagion_checks.variation_margin()
    assert not Check(what, source, target, found, tolerance).passed
    assert np.allclose(found, 7.0)
