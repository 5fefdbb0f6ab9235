"""The checks of the contagion engines pass here, and would not if an engine were off."""

import numpy as np
import pytest

from experiments.validation import contagion
from model.contagion import eisenberg_noe


@pytest.mark.parametrize("check", [*contagion.examples(_full=False), *contagion.transmission(full=False)], ids=lambda check: check.what)
def test_every_comparison_is_within_its_tolerance(check) -> None:
    assert check.passed


def test_an_engine_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contagion, "paddrik_rajan_young", lambda *_: eisenberg_noe())
    check = contagion.variation_margin()
    assert not check.passed
    assert np.allclose(check.found, 7.0)
