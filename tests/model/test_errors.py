"""Errors: what a person reads, and that they survive the way back from another process."""

import pickle

import numpy as np

from model.errors import LawViolation, ScenarioError, fault


def test_a_fault_names_place_field_found_and_expected():
    assert fault("a.yaml", 3, "seed", -1, "0 or more") == "a.yaml:3: seed: found -1, expected 0 or more"
    assert fault("a.csv", None, "rows", 1, "at least 2") == "a.csv: rows: found 1, expected at least 2"


def test_a_scenario_error_reads_one_fault_a_line():
    error = pickle.loads(pickle.dumps(ScenarioError(["one", "two"])))  # noqa: S301
    assert error.faults == ["one", "two"]
    assert str(error) == "one\ntwo"


def test_a_broken_law_tells_step_law_and_rows():
    error = pickle.loads(pickle.dumps(LawViolation(7, "cash sums to 3 USD, expected 0", np.array([4, 9]))))  # noqa: S301
    assert (error.step, error.law, error.rows.tolist()) == (7, "cash sums to 3 USD, expected 0", [4, 9])
    assert str(error) == "step 7: cash sums to 3 USD, expected 0 (rows 4, 9)"
    assert str(LawViolation(7, "cash sums to 3 USD, expected 0")) == "step 7: cash sums to 3 USD, expected 0"
