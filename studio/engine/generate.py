"""What the model writes for a few held-out prompts, greedily."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from studio.datasets.encode import Encoder
from studio.engine.batches import Row
from studio.engine.prefill import prefill
from studio.engine.row_attention import attends_by_row
from studio.models.families import family_of


def write_samples(
    model: nn.Module,
    rows: Sequence[Row],
    encoder: Encoder,
    *,
    device: str,
    at_once: int,
    cache: bool = True,
    most_new: int = 24,
) -> list[dict[str, str]]:
    """Prompt, expected and greedily written completion of each row that has a prompt.

    ``cache`` keeps keys and values between tokens; then ``at_once`` prompts of a model that can tell rows from padding
    are written on together.
    """
    family = family_of(str(model.config.model_type))  # type: ignore[union-attr]
    together = at_once if cache and family is not None and family.packs else 1
    asked = [(row.ids[:start], row.ids[row.trained].tolist()) for row in rows if (start := int(row.trained.argmax()))]
    samples = []
    was_training = model.training
    model.eval()
    try:
        for first in range(0, len(asked), together):
            some = asked[first : first + together]
            prompts = [torch.from_numpy(prompt).to(device) for prompt, _ in some]
            most = [min(most_new, len(expected) + 8) for _, expected in some]
            for (prompt, expected), written in zip(some, _write(model, prompts, most, encoder, cache), strict=True):
                words = {"prompt": prompt.tolist(), "expected": expected, "output": written}
                samples.append({name: encoder.decode(ids) for name, ids in words.items()})
    finally:
        model.train(was_training)
    return samples


def _write(
    model: nn.Module, prompts: list[Tensor], most: list[int], encoder: Encoder, cache: bool
) -> Iterator[list[int]]:
    """The tokens written after each prompt (S,), up to the end of the text or the ``most`` of its row."""
    longest = max(map(len, prompts))
    known, left = None, max(most)
    if cache and len(prompts) > 1 and attends_by_row(model):
        known, logits = prefill(model, prompts)
        prompts = [torch.cat(pair) for pair in zip(prompts, logits.argmax(-1, keepdim=True), strict=True)]
        left -= 1
    ids = pad_sequence(prompts, batch_first=True, padding_value=encoder.pad_id, padding_side="left")
    mask = torch.stack([pad(torch.ones_like(prompt), (ids.shape[1] - len(prompt), 0)) for prompt in prompts])
    with torch.inference_mode():
        written = model.generate(  # type: ignore[operator]
            ids, attention_mask=mask, do_sample=False, use_cache=cache, max_new_tokens=left, past_key_values=known,
            pad_token_id=encoder.pad_id, eos_token_id=encoder.eos_id, temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
    for row, count in zip(written[:, longest:].tolist(), most, strict=True):
        end = row.index(encoder.eos_id) + 1 if encoder.eos_id in row else len(row)
        yield row[: min(end, count)]
