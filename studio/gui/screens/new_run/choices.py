"""Models, datasets and methods as entries of the pickers."""

from typing import TYPE_CHECKING

from studio.core.facts import DataFacts, ModelFacts
from studio.core.units import format_count
from studio.gui.widgets.picker import Choice

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo


def model_choice(facts: ModelFacts) -> Choice:
    line = (
        f"{format_count(facts.params)} · {facts.kind} · {facts.layers} layers · {facts.license or 'licence not stated'}"
    )
    return Choice(f"library:{facts.name}", facts.name, line, facts.architecture)


def data_choice(facts: DataFacts) -> Choice:
    rows = f"{facts.rows:,} row{'s' if facts.rows != 1 else ''}"
    line = f"{rows} · {facts.format} · {', '.join(facts.columns)}"
    return Choice(f"library:{facts.name}", facts.name, line, facts.source)


def method_choice(info: "MethodInfo") -> Choice:
    return Choice(info.id, info.title, info.summary, f"{info.id} {' '.join(info.tags)} {info.paper}")
