"""The families that methods are filtered by, from the tags of their manifests, and what is known of their checks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo

# the word on a chip, and the tags that belong to it
TAGS: dict[str, tuple[str, ...]] = {
    "Low-rank": ("low-rank", "kronecker", "hadamard"),
    "Adapter": ("adapter",),
    "Prompt": ("prompt", "prefix"),
    "Sparse": ("sparse",),
    "Selection": ("selection", "selective"),
    "Scale": ("scale",),
    "Side": ("side-network",),
    "peft": ("peft",),
}
THIRD_PARTY = "Third-party"
FAMILIES = (*TAGS, THIRD_PARTY)
SIDE = "Side"


def families_of(info: "MethodInfo") -> tuple[str, ...]:
    """The families a method is found under; none for one of a kind."""
    tagged = [family for family, tags in TAGS.items() if set(tags) & set(info.tags)]
    return (*tagged, *([THIRD_PARTY] if is_third_party(info) else []))


def is_third_party(info: "MethodInfo") -> bool:
    """Whether its texts and code are of somebody else."""
    return info.origin in ("home", "installed")


def tag_words(info: "MethodInfo") -> str:
    """The tags in one line, its source last."""
    return " · ".join([*info.tags, *(["third-party"] if is_third_party(info) else [])])


def badge_words(info: "MethodInfo") -> tuple[str, str, str]:
    """The badge of a card: its words, colour and shape."""
    checks = info.checks
    if checks is None:
        return "Not checked", "muted", "ring"
    if checks.failed:
        return f"Fails {counted_words(checks.failed, 'check')}", "doesnotfit", "cross"
    passed = sum(map(len, checks.families.values()))
    return f"{counted_words(passed, 'check')} on {counted_words(len(checks.families), 'model')}", "fits", "check"


def chip_words(infos: Sequence["MethodInfo"]) -> dict[str, str]:
    """The families that some method has, each with how many have it."""
    counts = {family: sum(family in families_of(info) for info in infos) for family in FAMILIES}
    return {family: f"{family} {count}" for family, count in counts.items() if count}


def counted_words(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"
