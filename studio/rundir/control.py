"""The control file: window and command line append requests, the worker polls once per step."""

import json
import os
import time
from pathlib import Path
from typing import Literal, get_args

Request = Literal["stop", "pause", "save_now"]
REQUESTS: tuple[Request, ...] = get_args(Request)


def send(path: Path, request: Request) -> None:
    """Append one request; it survives until the worker reads it."""
    line = json.dumps({"time": time.time(), "request": request}) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


class ControlReader:
    """Reads the requests that come after it was opened; a poll without news is one stat call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def poll(self) -> list[Request]:
        """New requests, oldest first; lines that are none are skipped."""
        try:
            if self._path.stat().st_size <= self._offset:
                return []
        except FileNotFoundError:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [request for line in data[:end].splitlines() if (request := _request(line)) is not None]


def _request(line: bytes) -> Request | None:
    try:
        body = json.loads(line)
    except ValueError:
        return None
    name = body.get("request") if isinstance(body, dict) else None
    return name if name in REQUESTS else None
