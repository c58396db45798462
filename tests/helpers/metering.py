"""Meters for tests of what is metered."""

from studio.devices import Energy


def no_meter() -> Energy:
    """What a device without a meter tells."""
    return Energy(None, "none", 0.0, 0.0, None)
