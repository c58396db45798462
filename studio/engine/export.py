"""The trained result as files: the studio's own pair, and peft's where the method is exactly LoRA."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from studio import __version__
from studio.api import Site
from studio.core.errors import PluginError
from studio.core.plan import Plan
from studio.engine.attach import Attached, Placed
from studio.engine.live_paths import head_paths
from studio.engine.peft_bridge import Bridge, peft_tensors, write_config

CONFIG, WEIGHTS = "pet_config.json", "pet_weights.safetensors"


def export_adapter(attached: Attached, plan: Plan, folder: Path) -> Path:
    """Write the adapter folder, whole or not at all; its path.

    ``pet_config.json`` and ``pet_weights.safetensors`` hold every trained tensor as declared. When each
    placement is exactly LoRA, or the only one is peft's own, ``adapter_config.json`` and
    ``adapter_model.safetensors`` are what peft reads.
    """
    partial = folder.with_name(f".{folder.name}.part")
    partial.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in attached.saved(state=False).items()}
    save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
    _write(partial / CONFIG, _own_config(plan))
    if all(_is_lora(item) for item in attached.placed):
        config, weights = lora_files(attached, plan)
        save_file(weights, partial / "adapter_model.safetensors", metadata={"format": "pt"})
        _write(partial / "adapter_config.json", config)
    elif len(attached.placed) == len(attached.bridges) == 1:
        _write_bridge(attached.bridges[0], attached, plan, partial)
    if folder.exists():
        for old in folder.iterdir():
            old.unlink()
        folder.rmdir()
    partial.rename(folder)
    return folder


def _is_lora(item: Placed) -> bool:
    """Whether the placement is LoRA as other loaders know it: one pair of factors for each matrix, no gate."""
    plain = item.gate is None and all(site.copies == 1 for site in item.sites)
    return plain and item.method.traits.export == "lora"


def lora_files(attached: Attached, plan: Plan) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """peft's config and tensors for placements that are all LoRA-shaped.

    Several placements on one site are stacked along the rank. Where rank and scale agree everywhere they go
    into the config; otherwise every scale is folded into B and ranks are listed per module.
    """
    stacked = {path: _stack(factors) for path, factors in _factors(attached).items()}
    sizes = {(a.shape[0], scale) for a, _, scale in stacked.values()}
    uniform = len(sizes) == 1
    weights: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for path, (a, b, scale) in stacked.items():
        ranks[path] = a.shape[0]
        weights[f"base_model.model.{path}.lora_A.weight"] = a.contiguous()
        weights[f"base_model.model.{path}.lora_B.weight"] = (b if uniform else b * scale).contiguous()
    rank, scale = next(iter(sizes)) if uniform else (max(ranks.values()), 1.0)
    others = {} if uniform else {path: r for path, r in ranks.items() if r != rank}
    heads, modules = _heads(attached, plan)
    weights |= heads
    config = {
        "peft_type": "LORA",
        "task_type": _task_type(plan),
        "base_model_name_or_path": plan.model_path,
        "r": rank,
        "lora_alpha": scale * rank,
        "lora_dropout": 0.0,
        "target_modules": target_names(attached.model, list(stacked)),
        "rank_pattern": others,
        "alpha_pattern": others,
        "fan_in_fan_out": any(site.transposed for item in attached.placed for site in item.sites),
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
        "modules_to_save": modules or None,
    }
    return config, weights


def _write_bridge(bridge: Bridge, attached: Attached, plan: Plan, folder: Path) -> None:
    heads, modules = _heads(attached, plan)
    tensors = {**peft_tensors(bridge), **heads}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_config(bridge, folder, base_model=plan.model_path, task=_task_type(plan), heads=modules)


def _task_type(plan: Plan) -> str:
    return "SEQ_CLS" if plan.task == "classification" else "CAUSAL_LM"


def _heads(attached: Attached, plan: Plan) -> tuple[dict[str, Tensor], list[str]]:
    """The trained task head by peft's names, and the modules that it is made of."""
    paths = head_paths(attached.model) if plan.train_head else []
    tensors = {
        f"base_model.model.{path}.{name}": attached.tensors.get(f"head.{path}.{name}", parameter)
        .detach()
        .cpu()
        .contiguous()
        for path in paths
        for name, parameter in attached.model.get_submodule(path).named_parameters(recurse=False)
    }
    return tensors, sorted({path.split(".")[0] for path in paths})


def target_names(model: nn.Module, paths: list[str]) -> list[str]:
    """The last path parts if they select exactly ``paths`` in the model, else the paths themselves."""
    names = sorted({path.rsplit(".", 1)[-1] for path in paths})
    selected = [
        path for path, _ in model.named_modules() if path.rsplit(".", 1)[-1] in names or path in names
    ]  # fmt: skip
    return names if sorted(selected) == sorted(paths) else sorted(paths)


def _factors(attached: Attached) -> dict[str, list[tuple[Tensor, Tensor, float]]]:
    found: dict[str, list[tuple[Tensor, Tensor, float]]] = {}
    for index, (item, declared) in enumerate(zip(attached.placed, attached.declared, strict=True)):
        module = item.method.math()
        if module is None or not hasattr(module, "lora_factors"):
            raise PluginError(item.method.id, "says it exports LoRA but has no lora_factors")
        for site, decls in declared:
            tensors = attached.site_tensors(index, site, decls)
            with torch.no_grad():
                a, b, scale = module.lora_factors(item.params, site, tensors)
            found.setdefault(_live(attached, site), []).append((a.detach().cpu(), b.detach().cpu(), scale))
    return found


def _live(attached: Attached, site: Site) -> str:
    return attached.paths[site.path]


def _stack(factors: list[tuple[Tensor, Tensor, float]]) -> tuple[Tensor, Tensor, float]:
    if len(factors) == 1:
        return factors[0]
    return torch.cat([a for a, _, _ in factors]), torch.cat([b * scale for _, b, scale in factors], dim=1), 1.0


def _own_config(plan: Plan) -> dict[str, Any]:
    return {
        "format": 1,
        "studio": __version__,
        "task": plan.task,
        "base_model": {"source": plan.model_source, "fingerprint": plan.model_fingerprint},
        "labels": list(plan.labels),
        "placements": [placement.model_dump(mode="json") for placement in plan.placements],
        "trainable": plan.trainable,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
