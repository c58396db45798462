"""Loading a model whose matrices are packed as they are read, so that the whole never exists unpacked.

transformers hands each tensor of a checkpoint, under the name that it has in the live model, to a quantizer; this one
packs those of ``quantizable_modules``. Nothing of it stays in the loaded model or its config.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from studio.api import Site
from studio.core.spec import Quantization
from studio.engine.quantized import FORMATS, put_packed, quantizable_modules

NAME = "pet-studio"


@register_quantization_config(NAME)
class PackingConfig(QuantizationConfigMixin):
    """What ``from_pretrained`` takes as its ``quantization_config``: pack to ``kind`` on ``device``."""

    def __init__(self, kind: Quantization, sites: Iterable[Site], device: str) -> None:
        self.quant_method = NAME  # type: ignore[assignment] # as every custom one does
        self.kind, self.sites, self.device = kind, tuple(sites), device


@register_quantizer(NAME)
class _Packing(HfQuantizer):
    quantization_config: PackingConfig

    def __init__(self, quantization_config: PackingConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self.waiting: dict[str, nn.Linear] = {}

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return True

    def _process_model_before_weight_loading(self, model: nn.Module, **kwargs: Any) -> None:
        self.waiting = quantizable_modules(model, self.quantization_config.sites)

    def param_needs_quantization(self, model: nn.Module, param_name: str, **kwargs: Any) -> bool:
        path, _, name = param_name.rpartition(".")
        return name == "weight" and path in self.waiting

    def get_quantize_ops(self) -> ConversionOps:
        return _Pack(self)

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        self.remove_quantization_config(model)  # type: ignore[no-untyped-call]
        return model


class _Pack(ConversionOps):
    def __init__(self, quantizer: _Packing) -> None:
        self.quantizer = quantizer

    def convert(  # type: ignore[override] # it is called with names alone
        self, input_dict: dict[str, Any], **kwargs: Any
    ) -> dict[str, list[Tensor]]:
        """Put a packed map where the tensor would go; nothing is left to set."""
        config = self.quantizer.quantization_config
        for name, tensors in input_dict.items():
            weight = tensors[0] if isinstance(tensors, list) else tensors
            path = name.rpartition(".")[0]
            packed = FORMATS[config.kind](self.quantizer.waiting.pop(path), weight.to(config.device), weight.dtype)
            packed._is_hf_initialized = True  # type: ignore[assignment] # transformers draws no weights for it
            put_packed(kwargs["model"], path, packed)
            kwargs["missing_keys"].discard(name)
        return {}
