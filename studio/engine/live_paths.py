"""Where the modules of a live model are: those of a site, and those of a task's head."""

from torch import nn

from studio.api import Site
from studio.core.errors import UserError


def resolve_module(model: nn.Module, path: str) -> tuple[str, nn.Module]:
    """The live path and module of a canonical site path (below the backbone, or beside it)."""
    modules = dict(model.named_modules())
    prefix = getattr(model, "base_model_prefix", "")
    for candidate in (f"{prefix}.{path}" if prefix else path, path):
        if candidate in modules:
            return candidate, modules[candidate]
    raise UserError(
        f"the loaded model has no module {path!r}",
        where=type(model).__name__,
        hint="the folder's weights and config differ",
    )


def resolve_site(model: nn.Module, site: Site) -> tuple[str, str]:
    """The live path of a site's module, and the name of its weight there."""
    if site.kind == "model":
        prefix = getattr(model, "base_model_prefix", "")
        return (prefix if prefix and hasattr(model, prefix) else ""), "weight"
    if site.copies > 1:
        owner, _, name = site.path.rpartition(".")
        return resolve_module(model, owner)[0], name
    return resolve_module(model, site.path)[0], "weight"


def head_paths(model: nn.Module) -> list[str]:
    """Live paths of the modules outside the backbone that a classification run trains in full."""
    prefix = getattr(model, "base_model_prefix", "")
    own = [name for name, _ in model.named_children() if name != prefix]
    return [
        path for path, module in model.named_modules()
        if path.split(".")[0] in own and any(True for _ in module.parameters(recurse=False))
    ]  # fmt: skip
