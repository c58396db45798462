"""peft's methods, listed beside the studio's own: from a generated table and closed-form shapes, without peft."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Optional

from pydantic import ValidationError, create_model

from studio.api import API_VERSION, ParamDecl, Params, Site, Traits, count_over, largest, ui
from studio.core.errors import UserError
from studio.core.paths import resource
from studio.core.problems import Problem
from studio.extensions.loader import param_problem
from studio.extensions.manifest import Manifest
from studio.extensions.peft_shapes import SHAPES
from studio.extensions.peft_shapes_base import Span, divisors
from studio.extensions.registry import Plugin

TABLE = "tables/peft_methods.json"
TAG = "peft"
PLAIN_ONLY = frozenset({"GLORA"})  # refuse every kind of linear map but the plain one
_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "ints": list[int]}


@dataclass(frozen=True)
class BridgedMethod:
    """One of peft's tuners behind the interface of ``methods.Method``; ``entry`` is its row of the table."""

    plugin: Plugin
    entry: Mapping[str, Any]
    params: type[Params]

    @property
    def id(self) -> str:
        return self.plugin.id

    @property
    def tuner(self) -> str:
        """The tuner's name among peft's types."""
        return str(self.entry["type"])

    @property
    def traits(self) -> Traits:
        entry = self.entry
        return Traits(
            kinds=(entry["kind"],),
            where=entry["where"],
            mergeable=entry["mergeable"],
            identity_at_init=entry["identity_at_init"],
            families=tuple(entry["families"]),
            learning_rate=entry["learning_rate"],
            quantizes=self.tuner not in PLAIN_ONLY,
        )

    @property
    def chooses(self) -> bool:
        """Some tuners share tensors sized by all their sites, but a site that gets none never counts."""
        return False

    @property
    def can_fit(self) -> bool:
        return self.entry["size"] is not None

    def params_schema(self) -> dict[str, Any]:
        return self.params.model_json_schema()

    def parse(self, raw: dict[str, Any], where: str) -> tuple[Params | None, list[Problem]]:
        try:
            return self.params.model_validate(raw), []
        except ValidationError as error:
            known = list(self.params.model_fields)
            return None, [param_problem(entry, where, self.id, known) for entry in error.errors()]

    def takes(self, site: Site) -> bool:
        """Whether the tuner can wrap the site's module."""
        return site.kind == self.entry["kind"] and site.copies == 1 and (self.entry["conv1d"] or not site.transposed)

    def declare(self, params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
        """The tensors that peft makes at each site, by path.

        Raises:
            UserError: a size does not go with a site's widths.
        """
        taken = tuple(site for site in sites if self.takes(site))
        span, shapes = Span(taken), SHAPES[self.tuner]
        return {site.path: tuple(shapes(params, site, span)) for site in taken}

    def fit(self, params: Params, sites: Sequence[Site], budget: int) -> Params:
        """See ``api.methods.Fits``; of sizes that must divide the widths only those that do are tried."""
        field = self.entry["size"]["field"]
        taken = [site for site in sites if self.takes(site)]
        if not taken:
            return params
        sizes = self._sizes(params, taken)
        if not sizes:
            raise ValueError(f"no {field} goes with these widths")

        def make(index: int) -> Params:
            return params.model_copy(update={field: sizes[index - 1]})

        return largest(make, lambda sized: self._count(sized, sites), budget, most=len(sizes))

    def _count(self, params: Params, sites: Sequence[Site]) -> int:
        declared = self.declare(params, sites)
        return count_over(lambda _, site: declared.get(site.path, ()), params, sites)

    def _sizes(self, params: Params, sites: Sequence[Site]) -> Sequence[int]:
        """The sizes that every site has room for, in the order in which the count grows."""
        size = self.entry["size"]
        most = min([4096 if size["field"] == "r" else 1 << 20, *(_room(size["limit"], site) for site in sites)])
        if size["order"] == "divides" or getattr(params, "init_weights", None) == "bat":
            turns_inputs = self.tuner in ("BOFT", "OFT")
            widths = {width for site in sites for width in ((site.d_in,) if turns_inputs else (site.d_in, site.d_out))}
            found = [each for each in divisors(sorted(widths)) if each > 1]
            return found[::-1] if self.tuner == "C3A" else found
        if size["order"] == "shrinks":
            return range(most, 0, -1)
        unit = size["unit"]
        step = 1 if not unit else int(unit) if unit.isdigit() else int(getattr(params, unit))
        return range(step, most + 1, step)

    def extra_tokens(self, params: Params) -> int:
        return 0

    def math(self) -> None:
        """peft computes; see ``engine.peft_bridge``."""
        return


def _room(limit: str, site: Site) -> int:
    m, n = site.d_in, site.d_out
    return {"": 1 << 20, "in": m, "side": min(m, n), "area": m * n, "rows": m * n // (m + n)}[limit]


@cache
def bridged() -> tuple[Plugin, ...]:
    """Every bridged method, as a plugin among the others."""
    return tuple(_plugin(entry) for entry in _table()["methods"])


@cache
def load_bridged(plugin: Plugin) -> BridgedMethod:
    """The method of one of ``bridged()``."""
    entry = next(entry for entry in _table()["methods"] if entry["id"] == plugin.id)
    fields: dict[str, Any] = {field["name"]: (_type(field), _ui(field)) for field in entry["params"]}
    return BridgedMethod(plugin, entry, create_model(f"{entry['type']}Params", __base__=Params, **fields))


def bridge_problems(placements: Sequence[tuple[object, object, Sequence[Site]]]) -> list[tuple[int, str, str]]:
    """What stands against bridged placements, by their index and with a remedy: a gate, or a site shared.

    Each of ``placements`` is its method, its gate and the sites where it has tensors.
    """
    owners: dict[str, list[int]] = {}
    for index, (_, _, sites) in enumerate(placements):
        for site in sites:
            owners.setdefault(site.path, []).append(index)
    found: list[tuple[int, str, str]] = []
    for index, (method, gate, sites) in enumerate(placements):
        if not isinstance(method, BridgedMethod):
            continue
        if gate is not None:
            found.append((index, f"{method.id} takes no gate", "leave the gate out"))
        shared = [site.path for site in sites if len(owners[site.path]) > 1]
        if shared:
            message = f"{method.id} must have its sites to itself; another placement is at {shared[0]} too"
            found.append((index, message, "choose other sites for one of them"))
    return found


def bridged_type(kind: str) -> Mapping[str, Any] | None:
    """The row of one of peft's types; None if it is not bridged."""
    return next((entry for entry in _table()["methods"] if entry["type"] == kind), None)


def adopted_params(entry: Mapping[str, Any], config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Our parameters for an adapter with this config of peft's.

    Raises:
        UserError: the config sets a field that changes the adapter and that no parameter stands for.
    """
    wrong = [
        name for name, default in entry["unoffered"].items()
        if name != "init_weights" and config.get(name, default) not in (default, None)
    ]  # fmt: skip
    if wrong:
        raise UserError(f"sets {', '.join(wrong)}, which {entry['id']} has no parameter for", where=where)
    names = [field["name"] for field in entry["params"]]
    return {name: config[name] for name in names if name in config}


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(resource(TABLE).read_text(encoding="utf-8"))
    return table


def _plugin(entry: Mapping[str, Any]) -> Plugin:
    words = {key: entry[key] for key in ("id", "title", "summary", "paper", "formula")}
    manifest = Manifest(kind="method", version=_table()["peft"], api=API_VERSION, tags=(TAG,), **words)
    return Plugin(manifest, resource(TABLE), "peft")


def _type(field: Mapping[str, Any]) -> Any:
    if field["type"] == "choice":
        kind: Any = Literal[tuple(field["choices"])]
    else:
        kind = _TYPES[field["type"]]
    return Optional[kind] if field.get("nullable") else kind  # noqa: UP045 - made at run time


def _ui(field: Mapping[str, Any]) -> Any:
    default = {} if field.get("required") else {"default": field["default"]}
    return ui(
        **default,
        lo=field.get("lo"),
        hi=field.get("hi"),
        step=0.05 if field["label"] == "Dropout" else None,
        label=field["label"],
        help=field["help"],
        advanced=field.get("advanced", False),
    )
