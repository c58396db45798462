"""Failures of the disk, with the numbers that explain them."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core.errors import MachineError
from studio.core.units import format_bytes


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """What the operating system refuses inside the block becomes a ``MachineError`` about ``folder``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            present = next((path for path in (folder, *folder.parents) if path.exists()), folder)
            free = format_bytes(shutil.disk_usage(present).free)
            raise MachineError(
                f"the disk is full: {free} free", where=str(folder), hint="free some space and try again"
            ) from error
        raise MachineError(
            f"the disk refuses: {error.strerror or error}",
            where=str(error.filename or folder),
            hint="check the permissions of the folder, or choose another with PET_STUDIO_HOME",
        ) from error
