"""The devices of this machine: what they are, what they do right now, what energy they use."""

from studio.devices.energy import Energy, EnergyMeter, near_cadence
from studio.devices.machine import capabilities, list_devices, power_is_averaged, sample
from studio.devices.reading import Capability
from studio.devices.sampler import Sampler

__all__ = [
    "Capability",
    "Energy",
    "EnergyMeter",
    "Sampler",
    "capabilities",
    "list_devices",
    "near_cadence",
    "power_is_averaged",
    "sample",
]
