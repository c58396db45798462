"""What CUDA's caching allocator would reserve for a sequence of allocations."""

import bisect
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MIB = 1 << 20
ROUNDING = 512  # bytes, of every block
SMALL, SMALL_SEGMENT = MIB, 2 * MIB
LARGE, LARGE_SEGMENT = 10 * MIB, 20 * MIB
LARGE_ROUNDING = 2 * MIB


@dataclass
class _Block:
    """A stretch of a segment from address ``at`` on; ``next`` is the one behind it."""

    at: int
    size: int
    small: bool
    before: "_Block | None" = None
    next: "_Block | None" = None
    free: bool = True


@dataclass
class _Pool:
    """Free blocks by size, then address."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    blocks: dict[int, _Block] = field(default_factory=dict)

    def put(self, block: _Block) -> None:
        bisect.insort(self.sizes, (block.size, block.at))
        self.blocks[block.at] = block

    def take(self, block: _Block) -> None:
        self.sizes.pop(bisect.bisect_left(self.sizes, (block.size, block.at)))
        del self.blocks[block.at]

    def best(self, size: int) -> _Block | None:
        """The smallest free block of at least ``size`` bytes."""
        at = bisect.bisect_left(self.sizes, (size, 0))
        return self.blocks[self.sizes[at][1]] if at < len(self.sizes) else None


def reserved_peak(sizes: NDArray[np.int64], events: NDArray[np.int64]) -> int:
    """Bytes in all segments after the events (storage number + 1 when made, minus that when freed).

    c10/cuda/CUDACachingAllocator.cpp: blocks are rounded to 512 bytes; up to 1 MiB they come from segments of 2 MiB,
    up to 10 MiB from segments of 20 MiB, larger ones from segments of their own, rounded to 2 MiB. The best free block
    that fits is taken and split; freed neighbours grow together. Segments are never given back.
    """
    pools = {True: _Pool(), False: _Pool()}
    live: dict[int, _Block] = {}
    reserved = 0
    for event in events.tolist():
        number = abs(event) - 1
        if event < 0:
            _release(pools, live.pop(number))
            continue
        size = max(ROUNDING, -(-int(sizes[number]) // ROUNDING) * ROUNDING)
        small = size <= SMALL
        block = pools[small].best(size)
        if block is None:
            block = _Block(reserved, _segment(size), small)
            reserved += block.size
        else:
            pools[small].take(block)
        _split(pools, block, size)
        block.free = False
        live[number] = block
    return reserved


def _segment(size: int) -> int:
    if size <= SMALL:
        return SMALL_SEGMENT
    if size < LARGE:
        return LARGE_SEGMENT
    return -(-size // LARGE_ROUNDING) * LARGE_ROUNDING


def _split(pools: dict[bool, _Pool], block: _Block, size: int) -> None:
    rest = block.size - size
    if rest < (ROUNDING if block.small else SMALL + 1):
        return
    behind = _Block(block.at + size, rest, block.small, before=block, next=block.next)
    if block.next is not None:
        block.next.before = behind
    block.size, block.next = size, behind
    pools[block.small].put(behind)


def _release(pools: dict[bool, _Pool], block: _Block) -> None:
    pool = pools[block.small]
    if block.next is not None and block.next.free:
        _join(pool, block, block.next)
    if block.before is not None and block.before.free:
        pool.take(block.before)
        block.before.size += block.size
        block.before.next = block.next
        if block.next is not None:
            block.next.before = block.before
        block = block.before
    block.free = True
    pool.put(block)


def _join(pool: _Pool, block: _Block, behind: _Block) -> None:
    pool.take(behind)
    block.size += behind.size
    block.next = behind.next
    if behind.next is not None:
        behind.next.before = block
