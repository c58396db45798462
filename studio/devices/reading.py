"""What a meter answered: a value, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from studio.core.facts import DeviceSample

T = TypeVar("T")


@dataclass(frozen=True)
class Missing:
    """The machine cannot tell; ``reason`` says why, in words for the user."""

    reason: str


@dataclass(frozen=True)
class Capability:
    """Whether a field of ``DeviceSample`` can be read on this machine, and if not, why."""

    readable: bool
    reason: str = ""


@dataclass(frozen=True)
class Reading:
    """A sample with the reasons behind its missing fields."""

    sample: DeviceSample
    missing: Mapping[str, str]


class Gaps:
    """Collects the reasons of missing fields while a sample is put together."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def take(self, field: str, answer: T | Missing) -> T | None:
        """The value, or None with its reason noted under ``field``."""
        if isinstance(answer, Missing):
            self.reasons[field] = answer.reason
            return None
        return answer
