"""What a run would need if it were changed a little: simulated where a simulation covers it, else by the formula."""

from dataclasses import dataclass, replace
from functools import cached_property

from studio.core.forecast import MemoryParts
from studio.estimate.batches import largest_batch
from studio.estimate.families import family_of
from studio.estimate.footprint import Footprint, measure_footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.memory import measure_memory, simulated_memory
from studio.estimate.profile import MemoryProfile
from studio.estimate.speed import Speed, measure_speed


@dataclass(frozen=True)
class Needs:
    """Memory and time of ``inputs`` and of variations of them, before any correction from past runs."""

    inputs: EstimateInputs
    profile: MemoryProfile | None = None

    @cached_property
    def parts(self) -> MemoryParts:
        """Memory of the inputs as they are."""
        if self.profile is None:
            return measure_memory(self.inputs, self._footprint)
        return self._simulate(self.inputs, self.profile)

    @cached_property
    def speed(self) -> Speed:
        """Time of the inputs as they are."""
        counted = None if self.profile is None else self.profile.flops_per_token(self.inputs.micro_batch)
        return measure_speed(self.inputs, self._footprint, counted)

    def bytes_of(self, changed: EstimateInputs) -> int:
        """Memory of other inputs: what the formula says of the difference is added to what is simulated."""
        if self.profile is not None and self._covers(changed):
            return self._simulate(changed, self.profile).total
        foreseen = measure_memory(changed, self._footprint_of(changed)).total
        return foreseen if self.profile is None else self.parts.total + foreseen - self._formula

    def slower(self, changed: EstimateInputs) -> float:
        """The time of other inputs by that of these."""
        before = measure_speed(self.inputs, self._footprint)
        after = measure_speed(changed, self._footprint_of(changed))
        return _seconds(changed, after) / _seconds(self.inputs, before)

    @cached_property
    def _footprint(self) -> Footprint:
        return measure_footprint(self.inputs.declared, family_of(self.inputs.model), self.inputs.edits)

    def _footprint_of(self, changed: EstimateInputs) -> Footprint:
        if changed.declared is self.inputs.declared:
            return self._footprint
        return measure_footprint(changed.declared, family_of(changed.model), changed.edits)

    @cached_property
    def _formula(self) -> int:
        return measure_memory(self.inputs, self._footprint).total

    def _simulate(self, inputs: EstimateInputs, profile: MemoryProfile) -> MemoryParts:
        return simulated_memory(inputs, profile.over(inputs.accumulation), self._footprint)

    def _covers(self, changed: EstimateInputs) -> bool:
        """Whether only the number of rows differs, within what the profile is for."""
        same = replace(changed, micro_batch=0, accumulation=0) == replace(self.inputs, micro_batch=0, accumulation=0)
        return same and self.profile is not None and self.profile.alone == (changed.micro_batch == 1)


def simulated_batch(inputs: EstimateInputs) -> tuple[int, int]:
    """The length in tokens of the longest rows, on average if packed, and how many carry loss: what to simulate."""
    batch = largest_batch(inputs if inputs.packing else replace(inputs, micro_batch=1))
    return batch.length, max(1, round(batch.trained / batch.rows))


def _seconds(inputs: EstimateInputs, speed: Speed) -> float:
    return inputs.steps * speed.step + speed.evals
