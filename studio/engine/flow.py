"""What the hooks of one model share during a forward pass: outputs read elsewhere, the batch, the on/off switch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from studio.api import Tokens
from studio.engine.batches import Batch
from studio.models.families import family_of

_KEY = "studio_flow"


class Flow:
    """One model's pass in progress.

    ``outputs`` holds what the sites that some method reads have put out, by site path; ``memories`` what each
    placement's forwards leave each other; ``ahead`` by module what was computed of an input before the module was
    called with it; ``tokens`` the batch, as far as it is known. ``switches`` are called when the placements are turned
    on or off. ``fuses``: whether a map and what is added to it may be computed in one.
    """

    def __init__(self, model: nn.Module) -> None:
        self.enabled = True
        self.fuses = True
        self.tokens: Tokens | None = None
        self.outputs: dict[str, Tensor] = {}
        self.memories: dict[int, dict[Any, Any]] = {}
        self.ahead: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.switches: list[Callable[[bool], None]] = []
        self._known: Tokens | None = None
        self._causal = _is_causal(model)
        vars(model)[_KEY] = self
        backbone_of(model).register_forward_pre_hook(self._begin, with_kwargs=True, prepend=True)

    def switch(self, on: bool) -> None:
        """Turn the placements on or off."""
        self.enabled = on
        for switch in self.switches:
            switch(on)

    def memory(self, index: int) -> dict[Any, Any]:
        """What the forwards of placement ``index`` share in this pass."""
        return self.memories.setdefault(index, {})

    def use_batch(self, batch: Batch) -> None:
        """Tell the next pass which batch it runs on."""
        self._known = tokens_of(batch)

    def clear(self) -> None:
        """Forget the last pass: one that failed in its middle leaves tensors here."""
        self.outputs.clear()
        self.memories.clear()
        self.ahead.clear()

    def _begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.clear()
        tokens, self._known = self._known or _tokens_of_call(args, kwargs), None
        self.tokens = tokens and replace(tokens, causal=self._causal)


def flow_of(model: nn.Module) -> Flow | None:
    """The flow of a model with placements; None for a bare one."""
    return vars(model).get(_KEY)


@contextmanager
def bare(model: nn.Module) -> Iterator[None]:
    """The model without its placements, for as long as the context lasts."""
    flow = flow_of(model)
    if flow is None:
        yield
        return
    flow.switch(False)
    try:
        yield
    finally:
        flow.switch(True)


def backbone_of(model: nn.Module) -> nn.Module:
    """The model below its task head."""
    found = getattr(model, getattr(model, "base_model_prefix", "") or "_", model)
    return found if isinstance(found, nn.Module) else model


def _is_causal(model: nn.Module) -> bool:
    """Whether the tokens that the model puts out were made of those before them alone."""
    family = family_of(str(getattr(model.config, "model_type", "")))
    if family is None:
        return any(getattr(module, "is_causal", False) for module in model.modules())
    return family.kind in ("decoder", "encoder-decoder")


def tokens_of(batch: Batch) -> Tokens:
    """The batch as methods see it, from the tensors it was collated to."""
    ids = batch.ids
    mask = torch.ones_like(ids, dtype=torch.bool) if batch.mask is None else batch.mask.bool()
    if batch.positions is None:
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        lengths = mask.sum(1, keepdim=True).expand_as(ids)
    else:
        positions = batch.positions
        starts = (positions == 0).cumsum(1) - 1
        lengths = torch.bincount(starts[0])[starts]
    trained = torch.zeros_like(mask)
    if batch.predicts is not None:
        trained[:, 1:] = batch.predicts[:, :-1]
    return Tokens(mask, positions, mask & ~trained, lengths)


def _tokens_of_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tokens | None:
    """The tokens of a plain call, as generation makes it: the first pass is the prompt, later ones are written."""
    ids = kwargs.get("input_ids", args[0] if args else None)
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point():
        return None
    cache = kwargs.get("past_key_values")
    past = int(cache.get_seq_length()) if cache is not None else 0
    everything = torch.ones_like(ids, dtype=torch.bool)
    attended = kwargs.get("attention_mask")
    if not isinstance(attended, Tensor) or attended.dim() != 2:
        attended = torch.ones(len(ids), past + ids.shape[1], dtype=torch.long, device=ids.device)
    mask = attended[:, -ids.shape[1] :].bool()
    positions = (attended.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1] :]  # padding may stand before a shorter prompt
    lengths = attended.sum(1, keepdim=True).expand_as(ids)
    return Tokens(mask, positions, mask if past == 0 else ~everything, lengths)
