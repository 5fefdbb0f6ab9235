"""Where every draw comes from: one stream a component, a fresh page of it each step.

(seed, component name, step) alone decide what is drawn, whatever else the model draws, in whatever order it is built. Philox is
counter-based (Salmon, Moraes, Dror & Shaw, SC'11): its key comes from (seed, name), its counter's highest word is the step, which
leaves 2**192 blocks of draws a step.
"""

import operator
from collections.abc import Sequence
from typing import SupportsIndex
from zlib import crc32

import numpy as np

type SeedLike = SupportsIndex | Sequence[int] | np.random.SeedSequence | np.random.BitGenerator | np.random.Generator | None


class Streams:
    """The random streams of one run.

    Args:
        seed: not negative.
        place: what every component's name begins with.

    Raises:
        ValueError: a negative seed.
    """

    def __init__(self, seed: int, place: str = "") -> None:
        if seed < 0:
            raise ValueError(f"seed: found {seed}, expected 0 or more")
        self.seed, self.place = seed, place
        self._streams: dict[str, _Stream] = {}
        self._names: dict[int, str] = {}

    def within(self, place: str) -> "Streams":
        """Streams of a part of the run, its components' names under `place`; none of them is wound when the run's own are."""
        part = Streams(self.seed, f"{place}/" if place else "")
        part._names = self._names
        return part

    def generator(self, name: str, step: int = 0) -> np.random.Generator:
        """The generator of component `name` at the start of its draws for `step` (0 or more).

        The generator is one object a name, wound to the step: whatever an earlier call for the same name returned is wound with it.
        Draw what a step needs before asking for that name again. Not for sharing between threads.

        Raises:
            ValueError: two names of this run fall on one key (rename one of them).
            OverflowError: a negative step.
        """
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = self._open(name)
        return stream.wind(step)

    def reseed(self, seed: int) -> None:
        """Draws everything from now on as a run of another seed would; generators handed out before are not to be used any more."""
        self.seed = seed
        self._streams.clear()

    def _open(self, component: str) -> "_Stream":
        name = self.place + component
        key = crc32(name.encode())
        if self._names.setdefault(key, name) != name:
            raise ValueError(f"stream names {self._names[key]!r} and {name!r} share a key, expected different ones")
        return _Stream(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(key,))))


class _Stream:
    """A Philox generator and its pristine state; rewinding costs a fifth of making a new one."""

    def __init__(self, bits: np.random.Philox) -> None:
        self._bits = bits
        self._pristine = bits.state
        self._counter = self._pristine["state"]["counter"]
        self._generator = np.random.Generator(bits)

    def wind(self, step: int) -> np.random.Generator:
        self._counter[3] = step
        self._bits.state = self._pristine
        return self._generator


def seed_from(rng: SeedLike) -> int:
    """The whole-number seed that stands for what Mesa accepts as `rng`.

    An int stays itself; a seed sequence (or a sequence of ints) gives its first 63 bits of state; a generator gives its next draw,
    and is thereby advanced; None asks the operating system, the only case that differs from run to run.

    Raises:
        ValueError: a negative int.
        TypeError: anything else.
    """
    if rng is None:
        rng = np.random.SeedSequence()
    if isinstance(rng, np.random.BitGenerator):
        rng = np.random.Generator(rng)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if isinstance(rng, str | bytes):
        raise TypeError(f"rng: found {rng!r}, expected an int, a seed sequence, a generator or None")
    if isinstance(rng, Sequence):
        rng = np.random.SeedSequence(list(rng))
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1, np.uint64)[0] >> np.uint64(1))
    seed = operator.index(rng)
    if seed < 0:
        raise ValueError(f"seed: found {seed}, expected 0 or more")
    return seed
