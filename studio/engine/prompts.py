"""Virtual tokens in every sequence of a model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from studio.api import Context
from studio.engine.flow import Flow, backbone_of
from studio.engine.hooks import At, blaming, first_tensor, with_first_tensor

_RELATIVE = {"deberta-v2", "modernbert"}  # encoders whose positions only matter relative to each other

Make = Callable[[], Tensor | None]


def place_prompt(model: nn.Module, at: At, flow: Flow) -> None:
    """Put the method's virtual tokens into every sequence that the model reads.

    In a decoder they stand before the words. An encoder with absolute positions reads them after the words and
    without a position, so that every word keeps its own and the first token stays first; one with relative
    positions reads them before. The backbone's output has the words alone again, except in an encoder whose
    decoder shall see the virtual tokens too.
    """

    def make() -> Tensor | None:
        if not flow.enabled:
            return None
        ctx = Context(model.training, _no_weight, _no_weight, flow.outputs, flow.memory(at.index), flow.tokens)
        with blaming(at.method, at.site):
            prompt: Tensor = at.math.prompt(at.params, at.site, at.tensors, ctx)
        return prompt

    backbone = backbone_of(model)
    if model.config.is_encoder_decoder:  # type: ignore[union-attr]
        encoder, decoder = model.get_encoder(), model.get_decoder()  # type: ignore[operator]
        _prepend_to_words(encoder, make)
        decoder.register_forward_pre_hook(_extender("encoder_attention_mask", make), with_kwargs=True)
    elif isinstance(embeddings := getattr(backbone, "embeddings", None), nn.Module):
        front = str(model.config.model_type) in _RELATIVE  # type: ignore[union-attr]
        backbone.register_forward_pre_hook(_extender("attention_mask", make, front=front), with_kwargs=True)
        embeddings.register_forward_hook(_joiner(make, front=front))
        backbone.register_forward_hook(_cutter(make, front=front))
    else:
        _prepend_to_words(backbone, make)
        backbone.register_forward_hook(_cutter(make, front=True))


def _no_weight() -> Any:
    raise TypeError("the model itself has no weight of its own")


def _prepend_to_words(module: nn.Module, make: Make) -> None:
    """Let ``module`` (called with token ids) run on embeddings that begin with the virtual tokens."""

    def prepend(owner: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        prompt = make()
        if prompt is None:
            return None
        ids = kwargs.pop("input_ids", None)
        ids = args[0] if ids is None and args else ids
        words = kwargs.get("inputs_embeds")
        if words is None:
            words = owner.get_input_embeddings()(ids)  # type: ignore[operator]
        kwargs["inputs_embeds"] = torch.cat([_batched(prompt, words), words], dim=1)
        _extend(kwargs, "attention_mask", len(prompt), front=True)
        if (positions := kwargs.get("position_ids")) is not None:
            first = torch.arange(len(prompt), device=positions.device).expand(len(positions), -1)
            kwargs["position_ids"] = torch.cat([first, positions + len(prompt)], dim=1)
        return (), kwargs

    module.register_forward_pre_hook(prepend, with_kwargs=True)


def _extender(name: str, make: Make, *, front: bool = True) -> Callable[..., Any]:
    def extend(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        prompt = make()
        if prompt is not None:
            _extend(kwargs, name, len(prompt), front=front)
        return args, kwargs

    return extend


def _extend(kwargs: dict[str, Any], name: str, count: int, *, front: bool) -> None:
    mask = kwargs.get(name)
    if mask is not None:
        kwargs[name] = pad(mask, (count, 0) if front else (0, count), value=1)


def _joiner(make: Make, *, front: bool) -> Callable[..., Any]:
    def join(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        prompt, words = make(), first_tensor(output)
        if prompt is None:
            return output
        virtual = _batched(prompt, words)
        return with_first_tensor(output, torch.cat([virtual, words] if front else [words, virtual], dim=1))

    return join


def _cutter(make: Make, *, front: bool) -> Callable[..., Any]:
    def cut(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        prompt = make()
        if prompt is None:
            return output
        states, count = first_tensor(output), len(prompt)
        return with_first_tensor(output, states[:, count:] if front else states[:, :-count])

    return cut


def _batched(prompt: Tensor, words: Tensor) -> Tensor:
    """(n, d) -> (B, n, d), as ``words``."""
    return prompt.to(words.dtype).expand(len(words), -1, -1)
