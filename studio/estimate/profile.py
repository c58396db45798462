"""What a simulation found: the bytes at the peaks of a training step, as functions of the rows in a micro-batch."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

Polynomial = tuple[float, float, float]  # c0 + c1 rows + c2 rows^2


class ProfilePart(BaseModel):
    """Base of the profile types."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Moment(ProfilePart):
    """One moment of a step that is the highest for some number of rows: its bytes by what holds them.

    ``limited`` comes on top: what is made for no more than so many rows at a time.
    """

    kinds: dict[str, Polynomial]
    limited: tuple[tuple[float, dict[str, Polynomial]], ...] = ()

    def bytes_at(self, rows: int) -> dict[str, float]:
        found = {kind: _value(polynomial, rows) for kind, polynomial in self.kinds.items()}
        for limit, kinds in self.limited:
            for kind, polynomial in kinds.items():
                found[kind] += _value(polynomial, min(rows, limit))
        return found


class Segment(ProfilePart):
    """A stretch of a step, in models of ``shallow_layers`` and ``deep_layers`` blocks; alike where it was not cut.

    ``accumulating``: in a micro-batch after the first, which holds the gradients of those before.
    """

    name: str
    accumulating: bool = False
    shallow: tuple[Moment, ...]
    deep: tuple[Moment, ...]


class Operations(ProfilePart):
    """Floating-point operations of a micro-batch's training step, in both models."""

    shallow: Polynomial
    deep: Polynomial


class MemoryProfile(ProfilePart):
    """The peaks of a step by segment, over rows of ``length`` tokens: two and more, or one ``alone``, without a mask.

    A peak grows evenly with the blocks of a uniform stack, so that two shallow models tell that of ``layers``
    blocks: the deep one's and so many times their difference. ``reserved`` is how much more than what lives in
    it an allocator holds, by rows. ``accumulates``: the step is over several micro-batches.
    """

    layers: int
    shallow_layers: int
    deep_layers: int
    alone: bool
    segments: tuple[Segment, ...]
    length: int
    reserved: tuple[tuple[int, float], ...] = ()
    operations: Operations
    accumulates: bool = False

    def over(self, micro_batches: int) -> "MemoryProfile":
        """The profile of steps over so many micro-batches."""
        return self.model_copy(update={"accumulates": micro_batches > 1})

    def parts(self, rows: int, eval_rows: int) -> dict[str, int]:
        """Bytes by kind at the highest moment of a step over ``rows`` rows and an evaluation of ``eval_rows`` at once.

        0: nothing is evaluated.
        """
        passed = [segment for segment in self.segments if self.accumulates or not segment.accumulating]
        at = {segment.name: eval_rows if segment.name == "eval" else rows for segment in passed}
        moments = [self._extended(segment, at[segment.name]) for segment in passed if at[segment.name]]
        highest = max(moments, key=_total)
        return {kind: max(0, round(bytes_)) for kind, bytes_ in highest.items()}

    def flops_per_token(self, rows: int) -> float:
        """Operations of the forward and backward passes over one micro-batch, by its tokens."""
        flops = self._grown(_value(self.operations.shallow, rows), _value(self.operations.deep, rows))
        return flops / (rows * self.length)

    def reserved_by(self, rows: int) -> float:
        """Bytes that the device's allocator reserves by those it hands out; 1 where it reserves nothing."""
        return min(self.reserved, key=lambda known: abs(known[0] - rows))[1] if self.reserved else 1.0

    def _extended(self, segment: Segment, rows: int) -> dict[str, float]:
        deep = _highest(segment.deep, rows)
        if self.layers == self.deep_layers:
            return deep
        shallow = _highest(segment.shallow, rows)
        return {kind: self._grown(shallow.get(kind, 0.0), bytes_) for kind, bytes_ in deep.items()}

    def _grown(self, shallow: float, deep: float) -> float:
        if self.layers == self.deep_layers:
            return deep
        each = (deep - shallow) / (self.deep_layers - self.shallow_layers)
        return deep + (self.layers - self.deep_layers) * each


def _highest(moments: Sequence[Moment], rows: int) -> dict[str, float]:
    return max((moment.bytes_at(rows) for moment in moments), key=_total)


def _total(found: Mapping[str, float]) -> float:
    return sum(found.values())


def _value(polynomial: Polynomial, rows: float) -> float:
    c0, c1, c2 = polynomial
    return c0 + c1 * rows + c2 * rows * rows
