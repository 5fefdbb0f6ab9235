"""Streams: seed, name and step decide a draw, nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.randomness import Streams, seed_from


def test_a_draw_depends_on_seed_name_and_step_only():
    alone = Streams(7).generator("makers", 3).standard_normal(4)
    busy = Streams(7)
    busy.generator("traders", 3).standard_normal(1_000)
    busy.generator("makers", 2).standard_normal(5)
    assert np.array_equal(busy.generator("makers", 3).standard_normal(4), alone)
    for seed, name, step in [(8, "makers", 3), (7, "lenders", 3), (7, "makers", 4)]:
        assert not np.isin(Streams(seed).generator(name, step).standard_normal(4), alone).any()


def test_asking_again_rewinds_to_the_start_of_the_step():
    streams = Streams(1)
    first = streams.generator("news", 5)
    # Three 32-bit draws leave half a word and most of a block in the buffers: both must be forgotten.
    draws = first.integers(2**31, size=3, dtype=np.int32)
    again = streams.generator("news", 5)
    assert again is first
    assert np.array_equal(again.integers(2**31, size=3, dtype=np.int32), draws)


def test_steps_of_one_stream_do_not_overlap_or_correlate():
    streams = Streams(11)
    draws = np.array([streams.generator("news", step).random(50) for step in range(400)])
    assert np.unique(draws).size == draws.size
    # Lag-one correlation between neighbouring steps: sd 1/sqrt(399 × 50) = 0.0071; five of them 0.035.
    a, b = draws[:-1].ravel(), draws[1:].ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.035
    # Mean of 20,000 uniforms: sd 0.2887/sqrt(20,000) = 0.002.
    assert abs(draws.mean() - 0.5) < 0.01


def test_another_process_draws_the_same():
    code = "from model.randomness import Streams; print(Streams(5).generator('x', 9).random().hex())"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "123"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=root)
    assert out.stdout.strip() == Streams(5).generator("x", 9).random().hex()


def test_names_that_share_a_key_are_refused():
    # A well-known pair: CRC-32 of both words is 0x4ddb0c25.
    streams = Streams(0)
    streams.generator("plumless")
    with pytest.raises(ValueError, match="'plumless' and 'buckeroo' share a key"):
        streams.generator("buckeroo")


def test_negative_seeds_and_steps_are_refused():
    with pytest.raises(ValueError, match="found -1, expected 0 or more"):
        Streams(-1)
    with pytest.raises(OverflowError):
        Streams(1).generator("news", -1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: 42,
        lambda: np.int64(42),
        lambda: [1, 2, 3],
        lambda: np.random.SeedSequence(42),
        lambda: np.random.PCG64(42),
        lambda: np.random.default_rng(42),
    ],
)
def test_equal_seed_inputs_give_equal_seeds(make):
    seed = seed_from(make())
    assert seed == seed_from(make())
    assert type(seed) is int
    assert 0 <= seed < 2**63


def test_an_int_stays_itself_and_none_differs_every_time():
    assert seed_from(42) == 42
    assert seed_from(None) != seed_from(None)


def test_a_generator_is_advanced_by_giving_a_seed():
    rng = np.random.default_rng(1)
    assert seed_from(rng) != seed_from(rng)


def test_what_is_no_seed_is_refused():
    with pytest.raises(ValueError, match="found -3"):
        seed_from(-3)
    for wrong in ("12", 1.5):
        with pytest.raises(TypeError):
            seed_from(wrong)
