"""Finding a device by what somebody calls it."""

from studio.core.errors import UserError


def id_of(name: str) -> str:
    """The id of this machine's device with that id or, as far as it is unique, that part of its name."""
    from studio.service.devices import list_devices

    devices = list_devices()
    found = [device.id for device in devices if name == device.id or name.lower() in device.name.lower()]
    if len(set(found)) != 1:
        listed = ", ".join(f"{device.id} ({device.name})" for device in devices)
        raise UserError(
            f"{len(found) or 'no'} devices of this machine match {name!r}",
            where="--device",
            hint=f"here are {listed}; add --vram for a GPU that is not here",
        )
    return found[0]
