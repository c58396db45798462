"""A run's result as a whole model: the base's original weights with the placements folded in."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from studio.core.errors import MachineError
from studio.core.plan import Plan
from studio.core.progress import Progress
from studio.datasets.tokenizer import ModelTokenizer
from studio.engine.attach import Attached, attach
from studio.engine.build import DTYPES, load_base
from studio.engine.export import WEIGHTS
from studio.engine.merge import merge_into_base
from studio.engine.session import placements_of, put_tensors
from studio.models.config import read_config
from studio.models.header import read_header
from studio.models.sites import find_sites

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.jinja", "generation_config.json")
PROBE_TOKENS = 12


def write_merged(plan: Plan, adapter: Path, out: Path, report: Progress) -> dict[str, Any]:
    """Write the merged model to the new folder ``out``, whole or not at all.

    The base is read again in the precision it is stored in, whatever the run computed in. Returns the folder, its
    bytes, the ``precision`` and ``difference``: the largest change of a logit between the tuned and the merged model
    on a probe.

    Raises:
        UserError: a placement cannot be merged, or the adapter does not fit.
        MachineError: the folder cannot be written.
    """
    model_path = Path(plan.model_path)
    stored = plan.model_copy(
        update={"precision": _stored_precision(model_path), "quantization": "none", "device": "cpu"}
    )
    report("loading the base model", 0.1)
    attached = _tuned(stored, adapter)
    before = _probe(attached)
    report("merging", 0.5)
    model = merge_into_base(attached)
    difference = float((_probe(attached) - before).abs().max())
    report("writing the model", 0.7)
    partial = out.with_name(f".{out.name}.part")
    try:
        model.config.use_cache = read_config(model_path).get("use_cache", True)  # type: ignore[union-attr]
        model.save_pretrained(partial)  # type: ignore[operator]
        for weights in partial.glob("*.safetensors"):  # written as readable by their owner alone
            weights.chmod((partial / "config.json").stat().st_mode)
        for pattern in TOKENIZER_FILES:
            for file in model_path.glob(pattern):
                shutil.copy2(file, partial / file.name)
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise MachineError(f"the model cannot be written: {error.strerror or error}", where=str(out)) from error
    size = sum(file.stat().st_size for file in out.iterdir())
    return {"folder": str(out), "bytes": size, "precision": stored.precision, "difference": difference}


def _tuned(plan: Plan, adapter: Path) -> Attached:
    sites = find_sites(Path(plan.model_path))
    model = load_base(plan, pad_id=ModelTokenizer(Path(plan.model_path)).pad_id)
    attached = attach(model, placements_of(plan, sites), sites=sites, train_head=plan.train_head, seed=plan.seed)
    put_tensors(attached, load_file(adapter / WEIGHTS), adapter, state=False)
    return attached


def _stored_precision(model: Path) -> str:
    """The precision that most of the weights are stored in, if the engine computes in it; else fp32."""
    names = {str(dtype).removeprefix("torch."): name for name, dtype in DTYPES.items()}
    sizes: dict[str, int] = {}
    for info in read_header(model).values():
        sizes[info.dtype] = sizes.get(info.dtype, 0) + info.bytes_
    return names.get(max(sizes, key=lambda dtype: sizes[dtype]), "fp32")


def _probe(attached: Attached) -> Tensor:
    """Logits for a few arbitrary tokens, fp32."""
    model = attached.model.eval()
    vocab = int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]
    ids = torch.randint(vocab, (1, PROBE_TOKENS), generator=torch.Generator().manual_seed(0))
    if isinstance(end := model.config.eos_token_id, int):  # type: ignore[union-attr]
        ids[0, -1] = end  # where some classifiers read
    with torch.inference_mode():
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits.float()
