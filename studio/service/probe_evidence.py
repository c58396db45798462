"""What probes measured, kept as evidence for the forecasts of plans that cost the same."""

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from studio.core.paths import home
from studio.core.plan import Plan
from studio.estimate.probed import ProbeResult
from studio.rundir.layout import write_json
from studio.service.run_history import torch_version

# what decides the cost of a plan; time goes with the tokens, so the effective batch is not among it
COSTS = {
    "model_fingerprint", "data_fingerprint", "format", "columns", "labels", "max_rows", "max_length", "task",
    "precision", "quantization", "micro_batch", "checkpointing", "packing", "device_name",
}  # fmt: skip
PLACEMENT_COSTS = {"use", "version", "params", "sites", "gate"}


def probes() -> Path:
    """The folder of what was measured."""
    return home().root / "probes"


def keep_probe(plan: Plan, result: ProbeResult) -> None:
    """Keep what was measured of a plan, in place of what was before.

    Raises:
        MachineError: it cannot be written.
    """
    write_json(_file(plan), result.model_dump(mode="json"))


def find_probe(plan: Plan) -> ProbeResult | None:
    """What was measured of a plan that costs the same, on the same device with the same version of PyTorch."""
    try:
        return ProbeResult.model_validate_json(_file(plan).read_bytes())
    except (OSError, ValidationError):
        return None  # never measured, or kept by a studio that measured something else


def _file(plan: Plan) -> Path:
    costs = plan.model_dump(mode="json", include=COSTS)
    costs["placements"] = [each.model_dump(mode="json", include=PLACEMENT_COSTS) for each in plan.placements]
    costs |= {"evaluates": plan.eval_rows > 0, "torch": torch_version()}
    digest = hashlib.sha256(json.dumps(costs, sort_keys=True).encode()).hexdigest()
    return probes() / f"{digest[:32]}.json"
