"""Starting, asking and ending one helper process; ``helper`` is the other side of a plugin's."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from studio.core.paths import import_root
from studio.core.units import MIB

MOST_ANSWER_BYTES = 16 * MIB
MOST_PRINTED_BYTES = MIB
_GRACE_S = 1.0
_KEPT = ("PATH", "HOME", "USERPROFILE", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT")


class HelperProcess:
    """One run of a module that answers lines with lines, in a session of its own, its output pumped into ``log``."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        timeout_s: float,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._flooded = False
        self._asking: threading.Thread | None = None
        file = _open_log(log)
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=_environment() | dict(environment or {}), cwd=cwd, start_new_session=True,
        )  # fmt: skip
        self._pump = threading.Thread(target=self._keep_output, args=(file,), daemon=True)
        self._pump.start()

    def exchange(self, request: bytes) -> tuple[bytes, str]:
        """The line that answers, and what went wrong if there is none; the process has ended then."""
        lines: list[bytes] = []
        started = time.monotonic()
        self._asking = threading.Thread(target=self._ask, args=(request, lines), daemon=True)
        self._asking.start()
        self._asking.join(self._timeout_s + _GRACE_S)
        if lines and lines[0].endswith(b"\n"):
            return lines[0], ""
        late = time.monotonic() - started >= self._timeout_s
        self.end()
        return b"", self._reason(late, any(lines))

    def end(self) -> None:
        """End the process and what it started; its log is complete then. An idle one may finish by itself."""
        if not self._is_asked():
            self._close(self._popen.stdin)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_GRACE_S)
        kill_session(self._popen)
        self._popen.wait()
        self._pump.join(_GRACE_S)
        if self._asking:
            self._asking.join(_GRACE_S)
        if not self._is_asked():  # else something that it started has escaped and holds the pipes
            self._close(self._popen.stdin)
            self._close(self._popen.stdout)

    def _is_asked(self) -> bool:
        return self._asking is not None and self._asking.is_alive()

    def _ask(self, request: bytes, lines: list[bytes]) -> None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with contextlib.suppress(OSError):  # it has ended; its exit code tells more
            self._popen.stdin.write(request)
            self._popen.stdin.flush()
            lines.append(self._popen.stdout.readline(MOST_ANSWER_BYTES))

    def _reason(self, late: bool, answered: bool) -> str:
        if self._flooded:
            return f"prints more than {MOST_PRINTED_BYTES // MIB} MiB"
        if late:
            return f"did not answer within {self._timeout_s:g} s"
        if answered:
            return f"breaks off its answer, or gives more than {MOST_ANSWER_BYTES // MIB} MiB"
        code = self._popen.returncode
        return f"ends its process (exit code {code})" if code >= 0 else f"is killed by signal {-code}"

    def _keep_output(self, log: IO[bytes]) -> None:
        """Write what the process prints to its log; a flood ends the process."""
        assert self._popen.stderr is not None
        left = MOST_PRINTED_BYTES
        with self._popen.stderr as stream, log:
            while left > 0 and (chunk := os.read(stream.fileno(), min(left, 65_536))):
                log.write(chunk)
                log.flush()
                left -= len(chunk)
            self._flooded = left <= 0
            if self._flooded:
                kill_session(self._popen)

    @staticmethod
    def _close(stream: IO[bytes] | None) -> None:
        assert stream is not None
        with contextlib.suppress(OSError):  # what could not be sent any more
            stream.close()


def kill_session(leader: "subprocess.Popen[bytes]") -> None:
    """Kill a process that leads its own session, and what it started there."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(leader.pid, signal.SIGKILL)
        else:
            leader.kill()


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    full = path.exists() and path.stat().st_size > MOST_PRINTED_BYTES
    return path.open("wb" if full else "ab")


def _environment() -> dict[str, str]:
    """Nothing secret, nothing that changes the interpreter, our code first on the path."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(import_root()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }
