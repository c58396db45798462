"""Everything a spec names, looked up and checked; every problem found along the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.api import Params, Site
from studio.core.errors import StudioError, UserError
from studio.core.facts import DataFacts, DeviceFacts, ModelFacts
from studio.core.problems import Problem, did_you_mean
from studio.core.spec import (
    DataRef,
    Gate,
    MethodSpec,
    ModelRef,
    Placement,
    Quantization,
    RunSpec,
    TrainSpec,
    parse_spec,
)
from studio.datasets.check import check_mapping, check_task
from studio.datasets.formats import infer_format
from studio.datasets.interpret import suggest_mapping
from studio.datasets.labels import find_labels
from studio.datasets.store import StoredDataset
from studio.extensions.bridge import bridge_problems
from studio.extensions.declaring import GATE, Declared, count_tensors, declare_at, fit_params
from studio.extensions.methods import Method, open_method
from studio.extensions.registry import discover, find_plugin
from studio.models.families import family_of
from studio.models.sites import find_sites, is_quantizable, sites_for_task
from studio.models.where import check_words, select
from studio.service.devices import choose_device, list_devices
from studio.service.libraries import datasets, models

FILLER, FILLER_WHERE = "sparse-mask", "kind == linear and layer >= 0"


@dataclass(frozen=True)
class ResolvedPlacement:
    """One placement with its plugin, parameters, sites and declarations."""

    method: Method
    where: str
    params: Params
    sites: tuple[Site, ...]
    declared: Declared
    gate: Gate = None
    extra_tokens: int = 0


@dataclass
class Resolved:
    """What a spec refers to, as far as it could be found."""

    spec: RunSpec | None
    problems: list[Problem] = field(default_factory=list)
    model: ModelFacts | None = None
    data: DataFacts | None = None
    format: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    placements: list[ResolvedPlacement] = field(default_factory=list)
    packable: tuple[Site, ...] = ()
    device: DeviceFacts | None = None
    device_reason: str = ""

    def problem(self, where: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(where, message, hint))


def resolve(raw: RunSpec | Mapping[str, Any], devices: list[DeviceFacts] | None = None) -> Resolved:
    """Look up all that a spec names. Never raises for what the user wrote: see ``problems``."""
    parsed = parse_spec(raw.model_dump(mode="json") if isinstance(raw, RunSpec) else raw)
    found = Resolved(parsed.spec, list(parsed.problems))
    task = str(parsed.usable.get("task", "sft"))
    if model := parsed.part("model", ModelRef):
        _resolve_model(found, model)
    if data := parsed.part("data", DataRef):
        _resolve_data(found, data, task)
    if method := parsed.part("method", MethodSpec):
        _resolve_method(found, method, task)
    if train := parsed.part("train", TrainSpec):
        _resolve_device(found, train, devices if devices is not None else list_devices())
        _check_train(found, train)
        _check_quantization(found, train)
    _check_task(found, task)
    return found


def _resolve_model(found: Resolved, ref: ModelRef) -> None:
    try:
        found.model = models().resolve(ref.source)
    except StudioError as error:
        found.problem("model.source", error.message + _place_of(error), error.hint)


def _place_of(error: StudioError) -> str:
    """The file an error is about, if it names one."""
    return "" if error.where in ("", "model", "model.source", "data.source") else f" ({error.where})"


def _resolve_data(found: Resolved, ref: DataRef, task: str) -> None:
    try:
        facts = datasets().resolve(ref.source)
    except StudioError as error:
        found.problem("data.source", error.message + _place_of(error), error.hint)
        return
    found.data = facts
    found.format, found.columns = _mapping(ref, facts)
    task_problems = check_task(task, found.format)
    found.problems += task_problems
    if task_problems:
        return
    if found.format == "classification" and found.columns.get("label") in facts.columns:
        found.labels = _labels(found, facts)
    found.problems += check_mapping(facts, found.format, found.columns, found.labels)
    usable = min(facts.rows, ref.max_rows or facts.rows)
    if ref.split.eval >= usable:
        found.problem("data.split.eval", f"holds out {ref.split.eval} of {usable} rows", "leave some rows to train on")


def _mapping(ref: DataRef, facts: DataFacts) -> tuple[str, dict[str, str]]:
    """The format and columns to read the data with: as written, else as detected for the format."""
    if ref.columns is not None:
        inferred = infer_format(ref.columns) or facts.format
        return (inferred if ref.format == "auto" else ref.format), dict(ref.columns)
    if ref.format in ("auto", facts.format):
        return facts.format, dict(facts.mapping)
    return ref.format, suggest_mapping(StoredDataset(Path(facts.path)), ref.format) or {}


def _labels(found: Resolved, facts: DataFacts) -> tuple[str, ...]:
    column = found.columns["label"]
    if facts.labels and column == facts.mapping.get("label"):
        return facts.labels
    return _scanned_labels(facts.path, facts.fingerprint, column)


@lru_cache(maxsize=32)
def _scanned_labels(path: str, fingerprint: str, column: str) -> tuple[str, ...]:
    return find_labels(StoredDataset(Path(path)), column)


def _resolve_method(found: Resolved, spec: MethodSpec, task: str) -> None:
    registry = discover()
    sites = _sites(found, task)
    found.packable = tuple(filter(is_quantizable, sites or ()))
    for index, placement in enumerate(spec.placements):
        place = f"method.placements.{index}"
        try:
            method = open_method(registry.get(placement.use, "method"))
            params, problems = method.parse(placement.params, f"{place}.params")
        except StudioError as error:
            found.problem(f"{place}.use", error.message, error.hint)
            continue
        found.problems += problems
        if sites is not None:
            share = _share(found, spec, len(spec.placements) - index)
            _place(found, place, (placement, method, params), sites, share)
        elif placement.where:
            _check_where(found, place, placement.where)
    if spec.exact and sites is not None and len(found.placements) == len(spec.placements):
        _fill(found, spec, sites)
    _check_bridged(found, spec)
    if spec.start is not None:
        _check_start(found, Path(spec.start.removeprefix("path:")))


def _share(found: Resolved, spec: MethodSpec, waiting: int) -> int | None:
    """What one of the placements still to be sized may have: an equal part of what the others have left."""
    return None if spec.budget is None else max(0, spec.budget - count_resolved(found)) // waiting


def _check_bridged(found: Resolved, spec: MethodSpec) -> None:
    """Placements of peft's methods have their sites to themselves."""
    placed = [(p.method, p.gate, [site for site, _ in p.declared]) for p in found.placements]
    for index, message, hint in bridge_problems(placed):
        place = f"method.placements.{index}" if len(placed) >= len(spec.placements) else "method.placements"
        found.problem(place, message, hint)


def _check_start(found: Resolved, folder: Path) -> None:
    if not any((folder / name).is_file() for name in ("pet_config.json", "adapter_config.json")):
        found.problem("method.start", f"{folder} is no adapter folder", "name a folder with an adapter's config in it")


def _fill(found: Resolved, spec: MethodSpec, sites: tuple[Site, ...]) -> None:
    """Give what the sized placements leave of an exact budget to single base weights."""
    if spec.budget is None:
        found.problem("method.exact", "needs a budget to be exact about", "set method.budget")
        return
    rest = spec.budget - count_resolved(found)
    if rest > 0:
        filler = Placement(use=FILLER, where=FILLER_WHERE, params={"count": rest})
        try:
            method = open_method(find_plugin(FILLER, "method"))
        except StudioError as error:
            found.problem("method.exact", error.message, error.hint)
            return
        params, _ = method.parse(filler.params, "method")
        taken = {site.path for p in found.placements if p.method.plugin.origin == "peft" for site in p.sites}
        free = tuple(site for site in sites if site.path not in taken)
        _place(found, "method.budget", (filler, method, params), free, None)


def _check_where(found: Resolved, place: str, where: str) -> None:
    try:
        check_words(where)
    except UserError as error:
        found.problem(f"{place}.where", error.message, error.hint)


def _sites(found: Resolved, task: str) -> tuple[Site, ...] | None:
    if found.model is None:
        return None
    try:
        return sites_for_task(find_sites(Path(found.model.path)), task)
    except StudioError as error:
        found.problem("model.source", error.message, error.hint)
        return None


def _place(
    found: Resolved,
    place: str,
    item: tuple[Placement, Method, Params | None],
    sites: tuple[Site, ...],
    budget: int | None,
) -> None:
    placement, method, params = item
    where = placement.where or method.traits.where
    try:
        chosen = tuple(site for site in select(sites, where) if method.traits.takes(site))
    except UserError as error:
        found.problem(f"{place}.where", error.message, error.hint)
        return
    if params is None:
        return
    if found.model and method.traits.families and found.model.kind not in method.traits.families:
        found.problem(f"{place}.use", f"{method.id} works on {' and '.join(method.traits.families)} models only",
                      f"{found.model.name} is an {found.model.kind}; choose another method")  # fmt: skip
        return
    try:
        if budget is not None:
            params = fit_params(method, params, chosen, budget, placement.gate)
        declared = declare_at(method, params, chosen, placement.gate)
        tokens = method.extra_tokens(params)
    except ValueError as error:
        found.problem("method.budget", f"cannot be met: {error}", "raise the budget or choose fewer positions")
        return
    except StudioError as error:
        found.problem(place, error.message, error.hint)
        return
    resolved = ResolvedPlacement(method, where, params, chosen, declared, placement.gate, tokens)
    if objection := _objection(place, resolved, sites):
        found.problems.append(objection)
    else:
        found.placements.append(resolved)


def _objection(place: str, resolved: ResolvedPlacement, sites: tuple[Site, ...]) -> Problem | None:
    """Why a placement that could be declared would do nothing, or not what it says."""
    method, declared = resolved.method, resolved.declared
    if not declared:
        roles = sorted({site.role for site in sites if method.traits.takes(site)})
        return Problem(f"{place}.where", f"selects nothing that {method.id} can train in this model",
                       f"roles it can sit on here: {', '.join(roles)}")  # fmt: skip
    own = [decl for _, decls in declared for decl in decls if decl.base is None and decl.name != GATE]
    if resolved.gate is not None and (
        not own or resolved.extra_tokens or all(site.kind == "attention" for site, _ in declared)
    ):
        return Problem(f"{place}.gate", f"{method.id} changes no output or weight that a gate could scale", "remove it")
    return None


def _resolve_device(found: Resolved, train: TrainSpec, devices: list[DeviceFacts]) -> None:
    found.device, found.device_reason = choose_device(train.device, devices)
    if found.device is None:
        found.problem(
            "train.device", f"there is no device {train.device!r}", did_you_mean(train.device, [d.id for d in devices])
        )
    elif train.precision == "fp16" and found.device.kind == "cpu":
        found.problem("train.precision", "fp16 needs an NVIDIA GPU", "use bf16, fp32 or auto on a CPU")
    elif train.precision == "bf16" and found.device.kind == "cuda" and not found.device.bf16:
        found.problem("train.precision", f"{found.device.name} has no bf16", "use fp16 or auto")


def _check_train(found: Resolved, train: TrainSpec) -> None:
    if train.micro_batch != "auto" and train.effective_batch % train.micro_batch:
        found.problem(
            "train.micro_batch", f"does not divide effective_batch {train.effective_batch}", "choose a divisor, or auto"
        )
    if train.early_stopping is not None and found.spec and found.spec.data.split.eval == 0:
        found.problem("train.early_stopping", "needs held-out rows", "set data.split.eval above 0")


def _check_quantization(found: Resolved, train: TrainSpec) -> None:
    """Packed matrices need their kernels, a model that has such matrices, and methods that leave them as they are."""
    kind, place, remedy = train.quantization, "train.quantization", "use none"
    if kind == "none":
        return
    if kind not in available_formats():
        found.problem(
            place, f"{kind} needs bitsandbytes, which is not installed", "install pet-studio[quantized], or use int8"
        )
    if found.model and not found.packable:
        found.problem(place, f"{found.model.name} has no matrices that can be held in fewer bits", remedy)
    packable = {site.path for site in found.packable}
    for placement in found.placements:
        used = [(site, decls) for site, decls in placement.declared if site.path in packable]
        if any(decl.base == "weight" for _, decls in used for decl in decls):
            found.problem(place, f"{placement.method.id} trains matrices that {kind} would hold packed", remedy)
        elif used and not placement.method.traits.quantizes:
            found.problem(place, f"{placement.method.id} does not work on packed matrices", remedy)


def available_formats() -> tuple[Quantization, ...]:
    """The formats that this installation can hold matrices in."""
    return ("int8", "nf4") if find_spec("bitsandbytes") else ("int8",)


def _check_task(found: Resolved, task: str) -> None:
    if found.model is None:
        return
    if task == "sft" and found.model.kind != "decoder":
        found.problem("task", f"sft needs a decoder; {found.model.name} is an {found.model.kind}", "use classification")
    longest = found.model.max_positions
    written = found.spec.data.max_length if found.spec else "auto"
    virtual = sum(p.extra_tokens for p in found.placements)
    if longest and written != "auto" and written + virtual > longest:
        besides = f" and {virtual} virtual tokens are" if virtual else " is"
        found.problem(
            "data.max_length", f"{written}{besides} more than the {longest} positions of {found.model.name}",
            f"{longest - virtual} at most",
        )  # fmt: skip
    if found.spec and found.spec.train.packing is True:
        for reason in against_packing(found.model, task, found.placements):
            found.problem("train.packing", reason, "use false or auto")


def against_packing(model: ModelFacts, task: str, placements: Sequence[ResolvedPlacement]) -> list[str]:
    """Why rows cannot be packed; nothing if they can."""
    family = family_of(model.model_type)
    reasons = []
    if family is None or not family.packs:
        reasons.append(f"packed rows of a {model.model_type} would see each other")
    reasons += [f"{p.method.id} needs rows apart" for p in placements if not p.method.traits.packs]
    if task == "classification":
        reasons.append("classification rows cannot be packed")
    return reasons


def count_resolved(found: Resolved) -> int:
    """Trainable scalars of all placements, shared tensors once."""
    return sum(count_tensors([placement.declared for placement in found.placements]).values())
