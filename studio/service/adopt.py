"""An adapter folder as the method of a run: which placements it holds, so that a run can start from its weights."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.core.spec import MethodSpec, Placement
from studio.extensions.bridge import adopted_params, bridged_type
from studio.models.header import TensorInfo, read_file_header

OWN_CONFIG, PEFT_CONFIG, PEFT_WEIGHTS = "pet_config.json", "adapter_config.json", "adapter_model.safetensors"
ROOT = "base_model.model."
# what makes a LoRA another method than the studio's
FOREIGN = (
    "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "target_parameters", "trainable_token_indices",
    "layer_replication", "arrow_config", "kasa_config", "velora_config", "monteclora_config",
)  # fmt: skip
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # the others change the base weights too


def adopt(folder: Path) -> MethodSpec:
    """The method part of a spec that goes on from the adapter in ``folder``: the studio's own, or peft's.

    Raises:
        UserError: there is no adapter, or one that no method here computes.
    """
    start = f"path:{folder.absolute()}"
    if (folder / OWN_CONFIG).is_file():
        planned = _read(folder / OWN_CONFIG).get("placements", [])
        parts = [{key: each[key] for key in ("use", "where", "params", "gate") if key in each} for each in planned]
        return MethodSpec.model_validate({"placements": parts, "start": start})
    if not (folder / PEFT_CONFIG).is_file():
        raise UserError(f"has neither {OWN_CONFIG} nor {PEFT_CONFIG}", where=str(folder), hint="name an adapter folder")
    if not (folder / PEFT_WEIGHTS).is_file():
        raise UserError(f"has no {PEFT_WEIGHTS}", where=str(folder), hint="only safetensors are read; convert it first")
    config, header = _read(folder / PEFT_CONFIG), read_file_header(folder / PEFT_WEIGHTS)
    if str(config.get("bias", "none")) != "none":
        raise UserError("also trains biases, which no placement here does beside it", where=str(folder / PEFT_CONFIG))
    kind = str(config.get("peft_type", ""))
    placements = _lora(config, header, folder) if kind == "LORA" else _bridged(kind, config, header, folder)
    return MethodSpec(placements=tuple(placements), start=start)


def _lora(config: Mapping[str, Any], header: Mapping[str, TensorInfo], folder: Path) -> list[Placement]:
    """One placement for every rank and alpha that occurs; modules of a kind mostly have the same."""
    _check_plain_lora(config, folder)
    sized = defaultdict(list)
    for name, info in header.items():
        if name.endswith(".lora_A.weight"):
            path = name.removeprefix(ROOT).removesuffix(".lora_A.weight")
            sized[info.shape[0], _alpha(config, path)].append(path)
    if any(".lora_embedding_" in name for name in header):
        raise UserError("also adapts embeddings, which LoRA here does not", where=str(folder / PEFT_WEIGHTS))
    if not sized:
        raise UserError("holds no LoRA factors of linear maps", where=str(folder / PEFT_WEIGHTS))
    dora = bool(config.get("use_dora"))
    placements = []
    for (rank, alpha), paths in sorted(sized.items()):
        params: dict[str, Any] = {"rank": rank, "alpha": alpha}
        if not dora:
            params |= {"dropout": float(config.get("lora_dropout") or 0), "rslora": bool(config.get("use_rslora"))}
        placements.append(Placement(use="dora" if dora else "lora", where=where_of(paths), params=params))
    return placements


def _check_plain_lora(config: Mapping[str, Any], folder: Path) -> None:
    found = [name for name in FOREIGN if config.get(name)]
    if config.get("init_lora_weights", True) not in PLAIN_STARTS:
        found.append("init_lora_weights")
    if config.get("use_dora") and config.get("use_rslora"):
        found.append("use_rslora together with use_dora")
    if found:
        raise UserError(f"is a LoRA with {', '.join(found)}, which the studio does not compute",
                        where=str(folder / PEFT_CONFIG))  # fmt: skip


def _alpha(config: Mapping[str, Any], path: str) -> float:
    """The alpha of a module: of the first pattern that matches the end of its path, else the common one."""
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", path):
            return float(alpha)
    return float(config.get("lora_alpha", 8))


def _bridged(kind: str, config: Mapping[str, Any], header: Mapping[str, TensorInfo], folder: Path) -> list[Placement]:
    entry = bridged_type(kind)
    if entry is None:
        raise UserError(f"is a {kind or 'nameless'} adapter, which no method here computes",
                        where=str(folder / PEFT_CONFIG))  # fmt: skip
    split = re.compile(rf"{re.escape(ROOT)}(.+?)\.{re.escape(entry['prefix'])}")
    paths = {match[1] for name in header if (match := split.match(name))}
    params = adopted_params(entry, config, str(folder / PEFT_CONFIG))
    return [Placement(use=entry["id"], where=where_of(paths), params=params)]


def where_of(paths: Iterable[str]) -> str:
    """A placement expression for modules of a loaded model, by their names below their layers."""
    layers: dict[str, set[int]] = defaultdict(set)
    outside: set[str] = set()
    for path in paths:
        match = re.match(r"(?:.*?\.)?(\d+)\.(.+)$", path)
        if match:
            layers[match[2]].add(int(match[1]))
        else:
            outside.add(path.rpartition(".")[2])
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, numbers in layers.items():
        together[tuple(sorted(numbers))].append(f"*[0-9].{name}")
    terms = [f"path in {_listed(sorted(names))} and {_layers(numbers)}" for numbers, names in sorted(together.items())]
    terms += [f"path in {_listed(sorted(f'*{name}' for name in outside))}"] if outside else []
    return terms[0] if len(terms) == 1 else " or ".join(f"({term})" for term in terms)


def _layers(numbers: tuple[int, ...]) -> str:
    if numbers == tuple(range(len(numbers))):
        return f"layer <= {numbers[-1]}"
    return f"layer in {_listed(numbers)}"


def _listed(members: Iterable[str | int]) -> str:
    return "(" + ", ".join(json.dumps(member) for member in members) + ",)"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), hint="copy the adapter again") from error
    if not isinstance(content, dict):
        raise UserError("is no JSON object", where=str(path), hint="copy the adapter again")
    return content
