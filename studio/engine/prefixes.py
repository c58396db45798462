"""Virtual keys and values before those of an attention."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from studio.api import Context
from studio.core.errors import UserError
from studio.engine.flow import Flow
from studio.engine.hooks import At, blaming

_SLOT = "studio_prefixes"
_NAMES = {"sdpa": "studio_sdpa", "eager": "studio_eager"}  # implementations that read the slot, by what they build on


def place_prefix(model: nn.Module, module: nn.Module, at: At, flow: Flow) -> None:
    """Let ``module`` attend to the keys and values that the method gives, besides its own.

    Raises:
        UserError: the architecture computes its attention outside transformers' common interface.
    """
    if not hasattr(sys.modules[type(module).__module__], "ALL_ATTENTION_FUNCTIONS"):
        raise UserError(
            f"{at.method} cannot sit on the attention of {type(model).__name__}",
            where=at.site.path,
            hint="choose a method on linear sites, such as lora",
        )
    _use(model)

    def make() -> tuple[Tensor, ...] | None:
        if not flow.enabled:
            return None
        ctx = Context(module.training, _no_weight, _no_weight, flow.outputs, flow.memory(at.index), flow.tokens)
        with blaming(at.method, at.site):
            made: tuple[Tensor, ...] = at.math.prefix(at.params, at.site, at.tensors, ctx)
        return made

    vars(module).setdefault(_SLOT, []).append(make)


def _no_weight() -> Any:
    raise TypeError("an attention has no weight of its own")


def _use(model: nn.Module) -> None:
    """Switch the model to the implementation of its kind that reads the slot."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask, sdpa_mask

    present = model.config._attn_implementation  # type: ignore[union-attr]
    if present in _NAMES.values():
        return
    base = "eager" if present == "eager" else "sdpa"
    AttentionInterface.register(_NAMES[base], partial(_attend, base))
    AttentionMaskInterface.register(_NAMES[base], eager_mask if base == "eager" else sdpa_mask)
    model.set_attn_implementation(_NAMES[base])  # type: ignore[operator]


def _attend(
    base: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> Any:
    """The base implementation over the prefixes and the module's own keys (B, kv heads, k, head size)."""
    attend = _implementation(base, module)
    made = [prefix for make in vars(module).get(_SLOT, ()) if (prefix := make()) is not None]
    if not made:
        return attend(module, query, key, value, attention_mask, **kwargs)
    own, count = key.shape[2], sum(len(prefix[0]) for prefix in made)
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if attention_mask is None and causal and query.shape[2] > 1:
        attention_mask = torch.ones(query.shape[2], own, dtype=torch.bool, device=key.device).tril()[None, None]
    if attention_mask is not None:
        visible = True if attention_mask.dtype == torch.bool else 0.0
        attention_mask = pad(attention_mask, (count, 0), value=visible)
    if kwargs.get("position_bias") is not None:
        kwargs["position_bias"] = pad(kwargs["position_bias"], (count, 0))
    kwargs["scaling"] = kwargs.get("scaling") or query.shape[-1] ** -0.5
    query, key, value, shares = _joined(query, key, value, made)
    output, weights = attend(module, query, key, value, attention_mask, **kwargs)
    for share in reversed(shares):
        rest, drawn = output.chunk(2, dim=-1)
        output = rest + share.transpose(1, 2) * drawn
    return output, weights


def _joined(
    query: Tensor, key: Tensor, value: Tensor, made: list[tuple[Tensor, ...]]
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Queries, keys and values with the prefixes, and the shares (B, 1, S, 1) of those that have one.

    A share scales a prefix for each query on its own: the queries get a second half, scaled by it, which meets the
    prefix alone, and the output a second half, which is what the prefix's values give.
    """
    key_size, value_size, shares = key.shape[-1], value.shape[-1], []
    for prefix in made:
        keys, values = _by_head(prefix[0], key, key_size), _by_head(prefix[1], value, value_size)
        if len(prefix) > 2:
            shares.append(prefix[2].to(query.dtype)[:, None, :, None])
            query = torch.cat([query, query * shares[-1]], dim=-1)
            key, value = (pad(rest, (0, rest.shape[-1])) for rest in (key, value))
            keys, values = (pad(drawn, (drawn.shape[-1], 0)) for drawn in (keys, values))
        key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
    return query, key, value, shares


def _implementation(base: str, module: nn.Module) -> Callable[..., Any]:
    if base == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[no-any-return]
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward


def _by_head(flat: Tensor, like: Tensor, size: int) -> Tensor:
    """(n, heads x size) -> (B, heads, n, width), as ``like``, zeros after the first ``size``."""
    batch, heads, _, width = like.shape
    split = flat.to(like.dtype).view(-1, heads, size).transpose(0, 1)
    return pad(split, (0, width - size)).expand(batch, -1, -1, -1)
