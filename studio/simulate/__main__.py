"""``python -m studio.simulate``: simulates training steps on request, one JSON line each way, until stdin ends.

A request is the fields of ``Request``; the answer is ``{"profile": …}``, or ``{"error": …}`` in words.
"""

import gc
import json
import traceback

import torch
from pydantic import BaseModel
from transformers.utils import logging

from studio.core.errors import StudioError
from studio.core.plan import Plan
from studio.extensions.helper import take_channel
from studio.simulate.emulator import Flavour
from studio.simulate.profile import UnlikeTracesError, simulate


class Request(BaseModel):
    """What to simulate: a plan's step over rows of ``length`` tokens on a kind of device."""

    plan: Plan
    length: int
    trained: int
    kind: str
    capability: tuple[int, int]
    alone: bool


def main() -> None:
    """Answer until the requests end."""
    requests, answers = take_channel()
    gc.freeze()  # what is imported stays: each answer begins with a collection, which need not look at it
    torch.set_num_threads(1)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    for line in requests:
        answers.write(json.dumps(_answer(line)).encode() + b"\n")
        answers.flush()


def _answer(line: bytes) -> dict[str, object]:
    """A step of any model with any plugin can fail in any way; every failure is an answer."""
    try:
        request = Request.model_validate_json(line)
        flavour = Flavour(request.kind, request.capability)
        profile = simulate(
            request.plan, length=request.length, trained=request.trained, flavour=flavour, alone=request.alone
        )
    except (StudioError, UnlikeTracesError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the process boundary
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    return {"profile": profile.model_dump()}


if __name__ == "__main__":
    main()
