"""Which devices could run a spec: those of this machine, and common cards."""

from collections.abc import Mapping
from typing import Any

from studio.core.facts import DeviceFacts
from studio.core.forecast import DeviceFit
from studio.estimate.tables import common_cards
from studio.service.devices import list_devices
from studio.service.hypothetical import gpu_of, on_device
from studio.service.plan_run import plan_run
from studio.service.simulation import Simulator


def device_fits(raw: Mapping[str, Any], simulator: Simulator | None = None) -> list[DeviceFit]:
    """One line a device, with the automatic choices that suit it; those on which the spec is wrong are left out."""
    found = [_fit(raw, device, here=True, simulator=simulator) for device in list_devices()]
    for card in common_cards():
        found.append(_fit(raw, gpu_of(card.gib, card.name, card.capability), here=False, simulator=simulator))
    return [fit for fit in found if fit is not None]


def _fit(raw: Mapping[str, Any], device: DeviceFacts, *, here: bool, simulator: Simulator | None) -> DeviceFit | None:
    estimate = plan_run(on_device(raw, device.id), devices=[device], simulator=simulator).estimate
    if estimate is None:
        return None
    return DeviceFit(
        name=device.name,
        here=here,
        total_bytes=device.total_bytes,
        free_bytes=device.free_bytes,
        need_bytes=estimate.memory.total_bytes,
        verdict=estimate.verdict,
        seconds=estimate.time.seconds,
    )
