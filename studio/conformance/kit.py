"""Running the checks of one method on every family where it has something to train."""

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from studio.conformance.bench import Bench, CheckFailedError, NotApplicableError
from studio.conformance.checks import CHECKS
from studio.conformance.specimens import FAMILIES, Specimen, make_specimen
from studio.core.errors import StudioError
from studio.extensions.loader import LoadedMethod

Status = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Result:
    """One check on one family; ``detail`` says what failed, or why there is nothing to check."""

    family: str
    check: str
    status: Status
    detail: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """All results of one plugin."""

    id: str
    version: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether it works on some family and fails nowhere."""
        return not self.failures and any(result.status == "passed" for result in self.results)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.status == "failed"]

    @property
    def families(self) -> list[str]:
        """The families it was checked on."""
        return list(dict.fromkeys(result.family for result in self.results if result.status == "passed"))

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "version": self.version, "passed": self.passed, "families": self.families,
                "results": [asdict(result) for result in self.results]}  # fmt: skip


def check_method(method: LoadedMethod, families: Sequence[str] = FAMILIES) -> Report:
    """Every check on every family that the method's traits allow and where it declares something."""
    results = [result for family in families for result in check_family(method, family)]
    return Report(method.id, method.plugin.manifest.version, tuple(results))


def check_family(method: LoadedMethod, family: str, checks: Collection[str] = tuple(CHECKS)) -> Iterator[Result]:
    """The results of one family; a single line where there is nothing for the method."""
    specimen = specimen_of(family)
    allowed = method.traits.families
    if allowed and specimen.kind not in allowed:
        yield Result(family, "placement", "not applicable", f"its traits name {', '.join(allowed)} models only", 0.0)
        return
    try:
        bench = Bench(method, _defaults(method), specimen)
        if not bench.declared:
            yield Result(family, "placement", "not applicable", "it finds nothing to train here", 0.0)
            return
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the report is where it belongs
        yield Result(family, "placement", "failed", _words(error), 0.0)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, check in CHECKS.items():
            if name not in checks:
                continue
            yield _run(family, name, lambda check=check: check(bench, Path(folder)))


@cache
def specimen_of(family: str) -> Specimen:
    """The specimen of a family, made once per process."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    root = Path(tempfile.mkdtemp(prefix="pet-studio-check-"))
    return make_specimen(family, root)


def _defaults(method: LoadedMethod) -> Any:
    params, problems = method.parse({}, "params")
    if params is None:
        raise CheckFailedError(f"has no complete defaults: {problems[0]}")
    return params


def _run(family: str, name: str, check: Any) -> Result:
    started = time.monotonic()
    status: Status = "passed"
    detail = ""
    try:
        check()
    except NotApplicableError as reason:
        status, detail = "not applicable", str(reason)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the report is where it belongs
        status, detail = "failed", _words(error)
    finally:
        torch.set_default_dtype(torch.float32)
    return Result(family, name, status, detail, round(time.monotonic() - started, 3))


def _words(error: Exception) -> str:
    if isinstance(error, CheckFailedError | StudioError):
        return str(error)
    return f"{type(error).__name__}: {error}"
