"""The model of CUDA's caching allocator, against cases that can be counted by hand and a slow, plain one."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from studio.simulate.allocator import MIB, reserved_peak


def reserved(sizes: Sequence[int], events: Sequence[int]) -> int:
    return reserved_peak(np.asarray(sizes, dtype=np.int64), np.asarray(events, dtype=np.int64))


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (1, 2 * MIB), (MIB, 2 * MIB), (MIB + 1, 20 * MIB), (10 * MIB - 512, 20 * MIB), (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB), (12 * MIB, 12 * MIB), (101 * MIB, 102 * MIB),
    ],
)  # fmt: skip
def test_that_a_segment_is_as_large_as_its_first_block_demands(size: int, segment: int) -> None:
    assert reserved([size], [1]) == segment


def test_that_blocks_are_rounded_to_512_bytes() -> None:
    assert reserved([1] * 4096, range(1, 4097)) == 2 * MIB
    assert reserved([1] * 4097, range(1, 4098)) == 4 * MIB
    assert reserved([513] * 2049, range(1, 2050)) == 4 * MIB


def test_that_small_and_large_blocks_come_from_segments_of_their_own() -> None:
    assert reserved([MIB, 2 * MIB], [1, 2]) == 22 * MIB
    assert reserved([5 * MIB, 1000], [1, -1, 2]) == 22 * MIB


def test_that_a_freed_block_is_used_again() -> None:
    assert reserved([30 * MIB, 30 * MIB], [1, -1, 2]) == 30 * MIB
    assert reserved([30 * MIB, 30 * MIB], [1, 2, -1, -2]) == 60 * MIB


def test_that_the_rest_of_a_split_block_is_used() -> None:
    assert reserved([40 * MIB, 15 * MIB, 25 * MIB], [1, -1, 2, 3]) == 40 * MIB


def test_that_a_large_block_is_not_split_for_a_rest_of_a_mebibyte() -> None:
    assert reserved([30 * MIB, 29 * MIB, MIB + 512], [1, -1, 2, 3]) == 30 * MIB + 20 * MIB
    assert reserved([30 * MIB, 29 * MIB - 512, MIB + 512], [1, -1, 2, 3]) == 30 * MIB


def test_that_the_best_fit_is_taken() -> None:
    sizes = [60 * MIB, 40 * MIB, 38 * MIB, 60 * MIB]
    assert reserved(sizes, [1, 2, -1, -2, 3, 4]) == 100 * MIB


def test_that_freed_neighbours_grow_together_in_whatever_order() -> None:
    for freed in ([-1, -2, -3], [-3, -2, -1], [-2, -1, -3], [-1, -3, -2]):
        sizes = [12 * MIB, 4 * MIB, 4 * MIB, 4 * MIB, 12 * MIB]
        first = [1, -1]  # one segment of 12 MiB, then cut in three
        events = [*first, 2, 3, 4, *(event - 1 for event in freed), 5]
        assert reserved(sizes, events) == 12 * MIB


def test_that_blocks_of_different_segments_never_grow_together() -> None:
    assert reserved([12 * MIB, 12 * MIB, 24 * MIB], [1, 2, -1, -2, 3]) == 48 * MIB


class Plain:
    """The same allocator as lists of stretches [offset, size, owner] a segment, searched from end to end."""

    def __init__(self) -> None:
        self.segments: list[tuple[bool, list[list[int]]]] = []

    def make(self, number: int, size: int) -> None:
        size = max(512, (size + 511) // 512 * 512)
        small = size <= MIB
        fits = [
            (stretch[1], index, at)
            for index, (is_small, stretches) in enumerate(self.segments)
            for at, stretch in enumerate(stretches)
            if is_small == small and stretch[2] < 0 and stretch[1] >= size
        ]
        if not fits:
            large = 20 * MIB if size < 10 * MIB else (size + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
            self.segments.append((small, [[0, 2 * MIB if small else large, -1]]))
            fits = [(0, len(self.segments) - 1, 0)]
        _, index, at = min(fits)
        stretches = self.segments[index][1]
        rest = stretches[at][1] - size
        if rest >= 512 if small else rest > MIB:
            stretches.insert(at + 1, [stretches[at][0] + size, rest, -1])
            stretches[at][1] = size
        stretches[at][2] = number

    def free(self, number: int) -> None:
        for _, stretches in self.segments:
            for stretch in stretches:
                if stretch[2] == number:
                    stretch[2] = -1
            for at in range(len(stretches) - 1, 0, -1):
                if stretches[at][2] < 0 and stretches[at - 1][2] < 0:
                    stretches[at - 1][1] += stretches.pop(at)[1]

    @property
    def reserved(self) -> int:
        return sum(stretch[1] for _, stretches in self.segments for stretch in stretches)


def sequence(seed: int, length: int = 300) -> tuple[list[int], list[int]]:
    """Storages of every size class, most of them freed again."""
    draw = random.Random(seed)
    sizes: list[int] = []
    events: list[int] = []
    live: list[int] = []
    for _ in range(length):
        if live and draw.random() < 0.45:
            events.append(-live.pop(draw.randrange(len(live))))
        else:
            sizes.append(draw.choice((draw.randrange(1, 4096), draw.randrange(MIB), draw.randrange(1, 40) * MIB)))
            events.append(len(sizes))
            live.append(len(sizes))
    return sizes, events


@pytest.mark.parametrize("seed", range(20))
def test_that_random_sequences_reserve_what_a_plain_allocator_does(seed: int) -> None:
    sizes, events = sequence(seed)
    plain = Plain()
    for event in events:
        if event > 0:
            plain.make(event, sizes[event - 1])
        else:
            plain.free(-event)
    assert reserved(sizes, events) == plain.reserved


@pytest.mark.parametrize("seed", range(20, 40))
def test_that_no_less_is_reserved_than_lives_at_the_peak(seed: int) -> None:
    sizes, events = sequence(seed)
    live = np.cumsum([sizes[abs(event) - 1] * (1 if event > 0 else -1) for event in events])
    assert live.max() <= reserved(sizes, events) <= 3 * live.max() + 22 * MIB


def test_that_the_same_sequence_always_reserves_the_same() -> None:
    sizes, events = sequence(3, 2000)
    assert len({reserved(sizes, events) for _ in range(5)}) == 1
