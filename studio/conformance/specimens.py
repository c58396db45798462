"""The tiny random models that methods are checked on: a decoder, an encoder, both, and two of images."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from studio.api import Site
from studio.engine.batches import Batch, Row, collate
from studio.engine.live_paths import head_paths
from studio.engine.tasks import batch_logits
from studio.models.sites import find_sites

LENGTHS = (9, 6, 12, 7, 5, 11, 8, 10)
VOCAB, CLASSES, WIDTH, LAYERS = 96, 3, 32, 2


@dataclass
class Specimen:
    """A tiny model of one family with eight examples.

    ``logits(model, rows)`` gives what the model says to the examples ``rows``, one line per target; padding and
    packing change how they are fed, not what is asked.
    """

    family: str
    kind: str
    folder: Path
    make: Callable[[], nn.Module]
    text: bool = False
    packable: bool = False
    _cache: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Every site, from the saved files as for any model."""
        self._origin.save_pretrained(self.folder)  # type: ignore[operator]
        return find_sites(self.folder)

    @cached_property
    def _origin(self) -> nn.Module:
        torch.manual_seed(0)
        model = self.make()
        _spread(model)
        return model

    def model(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """A fresh frozen copy in evaluation mode."""
        model = copy.deepcopy(self._origin).to(dtype).eval()
        model.requires_grad_(False)
        for module in model.modules():
            if hasattr(module, "config"):
                module.config.use_cache = False  # type: ignore[union-attr]
        return model

    def logits(self, model: nn.Module, rows: Sequence[int], *, packed: bool = False, padding: int = 0) -> Tensor:
        """(targets, classes)."""
        if self.text:
            return batch_logits(model, self._batch(rows, packed=packed, padding=padding))
        dtype = next(model.parameters()).dtype
        inputs = {name: t.to(dtype) if t.is_floating_point() else t for name, t in self._inputs(rows).items()}
        return model(**inputs).logits.flatten(0, -2)  # type: ignore[no-any-return]

    def targets(self, rows: Sequence[int]) -> Tensor:
        """(targets,) class ids."""
        if self.text:
            return self._batch(rows).targets
        if self.kind == "encoder-decoder":
            return self._inputs(rows)["labels"].flatten()
        return torch.tensor([row % CLASSES for row in rows])

    def loss(self, model: nn.Module, rows: Sequence[int], **how: Any) -> Tensor:
        """Cross-entropy summed over the targets."""
        logits = self.logits(model, rows, **how)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return cross_entropy(exact, self.targets(rows), reduction="sum")

    def _batch(self, rows: Sequence[int], *, packed: bool = False, padding: int = 0) -> Batch:
        items = [_row(row, classes=self.kind == "encoder") for row in rows]
        classes = self.kind == "encoder"
        batch = collate(items, pad_id=0, device="cpu", packed=packed, classes=classes)
        return batch if not padding else _padded(batch, padding)

    def _inputs(self, rows: Sequence[int]) -> dict[str, Tensor]:
        if self.kind == "encoder-decoder":
            ids = torch.stack([_ids(row, 8) for row in rows])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, :4].contiguous()}
        size = self._origin.config.image_size if self.family == "vit" else 32  # type: ignore[union-attr]
        return {"pixel_values": torch.stack([_image(row, int(size)) for row in rows])}  # type: ignore[arg-type]


def make_specimen(family: str, root: Path) -> Specimen:
    """The specimen of a family; its files go below ``root``."""
    kinds = {"llama": "decoder", "bert": "encoder", "t5": "encoder-decoder", "vit": "vision", "resnet": "vision"}
    return Specimen(
        family, kinds[family], root / family, partial(_build, family),
        text=family in ("llama", "bert"), packable=family == "llama",
    )  # fmt: skip


def _spread(model: nn.Module) -> None:
    """Give every tensor values of ordinary size: fresh biases are zero, and a check must see them matter."""
    generator = torch.Generator().manual_seed(1)
    heads = head_paths(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(noise * 0.05)
            elif any(name.startswith(path) for path in heads):
                parameter.copy_(noise * 0.3)
            else:
                parameter.add_(noise * 0.03)


def _row(index: int, *, classes: bool) -> Row:
    length = LENGTHS[index]
    trained = np.zeros(length, dtype=np.bool_)
    trained[length // 2 :] = not classes
    return Row(_ids(index, length).numpy(), trained, index % CLASSES if classes else -1)


def _ids(index: int, length: int) -> Tensor:
    return torch.randint(4, VOCAB, (length,), generator=torch.Generator().manual_seed(index))


def _image(index: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(3, size, size, generator=generator) + index % CLASSES


def _padded(batch: Batch, count: int) -> Batch:
    assert batch.mask is not None
    predicts = None if batch.predicts is None else pad(batch.predicts, (0, count))
    return replace(batch, ids=pad(batch.ids, (0, count)), mask=pad(batch.mask, (0, count)), predicts=predicts)


_DECODER = {"vocab_size": VOCAB, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS}
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("AutoModelForCausalLM", {
        **_DECODER, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "tie_word_embeddings": True, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0,
    }),
    "bert": ("AutoModelForSequenceClassification", {
        **_DECODER, "num_attention_heads": 4, "max_position_embeddings": 128, "num_labels": CLASSES, "pad_token_id": 0,
    }),
    "t5": ("AutoModelForSeq2SeqLM", {
        "vocab_size": VOCAB, "d_model": WIDTH, "d_kv": 8, "d_ff": 2 * WIDTH, "num_layers": LAYERS, "num_heads": 4,
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    }),
    "vit": ("AutoModelForImageClassification", {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "image_size": 16, "patch_size": 8, "num_labels": CLASSES,
    }),
    "resnet": ("AutoModelForImageClassification", {
        "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic", "num_labels": CLASSES,
    }),
}  # fmt: skip
FAMILIES = tuple(_CONFIGS)


def _build(family: str) -> nn.Module:
    import transformers

    kind, settings = _CONFIGS[family]
    config = transformers.AutoConfig.for_model(family, **settings)
    return getattr(transformers, kind).from_config(config)  # type: ignore[no-any-return]
