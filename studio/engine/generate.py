"""What the model writes for a few held-out prompts, greedily."""

from collections.abc import Sequence

import torch
from torch import nn

from studio.datasets.encode import Encoder
from studio.engine.batches import Row


def write_samples(
    model: nn.Module, rows: Sequence[Row], encoder: Encoder, *, device: str, cache: bool = True, most_new: int = 24
) -> list[dict[str, str]]:
    """Prompt, expected and greedily written completion of each row; ``cache`` keeps keys and values between tokens."""
    samples = []
    was_training = model.training
    model.eval()
    try:
        for row in rows:
            start = int(row.trained.argmax())
            if start == 0:
                continue
            prompt = torch.from_numpy(row.ids[:start])[None].to(device)
            expected = row.ids[row.trained].tolist()
            with torch.inference_mode():
                written = model.generate(  # type: ignore[operator]
                    prompt, attention_mask=torch.ones_like(prompt), do_sample=False, use_cache=cache,
                    max_new_tokens=min(most_new, len(expected) + 8), pad_token_id=encoder.pad_id,
                    eos_token_id=encoder.eos_id, temperature=None, top_p=None, top_k=None,
                )  # fmt: skip
            samples.append(
                {
                    "prompt": encoder.decode(prompt[0].tolist()),
                    "expected": encoder.decode(expected),
                    "output": encoder.decode(written[0, start:].tolist()),
                }
            )
    finally:
        model.train(was_training)
    return samples
