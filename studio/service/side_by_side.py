"""Many methods on one model at one budget: what each would train, or why it cannot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.api import Site
from studio.core.errors import Cancelled, InvalidSpecError, StudioError
from studio.core.facts import ModelFacts
from studio.extensions.methods import open_method
from studio.extensions.registry import Plugin, discover
from studio.models.sites import find_sites
from studio.service.libraries import models
from studio.service.methods import Count, count_on


@dataclass(frozen=True)
class Counted:
    """A method with its defaults on a model: its count, or in words why there is none.

    ``works``: whether it can train the model at all; a budget that is too small does not change that.
    """

    method: str
    count: Count | None
    problem: str
    works: bool


def count_methods(
    model: str,
    method_ids: Sequence[str],
    budget: int | None = None,
    *,
    progress: Callable[[str, float | None], None] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Counted]:
    """Every one of the methods on ``model`` (a source), sized to ``budget`` if there is one, in their order.

    Raises:
        UserError: unknown model or method.
        Cancelled: ``cancelled`` said so.
    """
    facts = models().resolve(model)
    sites, registry = find_sites(Path(facts.path)), discover()
    counted = []
    for done, method_id in enumerate(method_ids):
        if cancelled():
            raise Cancelled
        progress(f"Counting {method_id}", done / len(method_ids))
        counted.append(count_plugin(facts, sites, registry.get(method_id, "method"), budget))
    return counted


def count_plugin(facts: ModelFacts, sites: Sequence[Site], plugin: Plugin, budget: int | None) -> Counted:
    """One method with its defaults on a model whose sites are known."""
    try:
        return Counted(plugin.id, count_on(facts, sites, open_method(plugin), {}, None, budget), "", works=True)
    except InvalidSpecError as error:
        return Counted(
            plugin.id, None, "; ".join(_words(problem.where, problem.message) for problem in error.problems), True
        )
    except StudioError as error:
        return Counted(plugin.id, None, error.message, works=False)


def _words(where: str, message: str) -> str:
    """``rank: field required``; the budget speaks for itself."""
    return message if where == "budget" else f"{where.removeprefix('params.')}: {message}"
