"""Running the checks of one plugin: those of itself once, those of its method on every family where it trains."""

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from studio.api import Params
from studio.conformance.bench import Bench, CheckFailedError, NotApplicableError, require
from studio.conformance.checks import CHECKS
from studio.conformance.sources import PLUGIN_CHECKS
from studio.conformance.specimens import FAMILIES, Specimen, make_specimen
from studio.core.errors import StudioError
from studio.extensions.bridge import BridgedMethod
from studio.extensions.loader import LoadedMethod

ALL = (*CHECKS, *PLUGIN_CHECKS)
Status = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Result:
    """One check on one family, "" for the plugin itself; ``detail``: what failed, or why there is nothing to check."""

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
        return not self.failures and bool(self.families)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.status == "failed"]

    @property
    def families(self) -> list[str]:
        """The families it was checked on."""
        return list(dict.fromkeys(r.family for r in self.results if r.family and r.status == "passed"))

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "version": self.version, "passed": self.passed, "families": self.families,
                "results": [asdict(result) for result in self.results]}  # fmt: skip


def check_method(method: LoadedMethod, families: Sequence[str] = FAMILIES, checks: Collection[str] = ALL) -> Report:
    """Every check on every family that the method's traits allow and where it declares something."""
    results = list(check_plugin(method, checks))
    results += [result for family in families for result in check_family(method, family, checks)]
    return Report(method.id, method.plugin.manifest.version, tuple(results))


def check_plugin(
    method: LoadedMethod | BridgedMethod,
    checks: Collection[str] = ALL,
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Result]:
    """The results of the plugin itself."""
    for name, check in PLUGIN_CHECKS.items():
        if name in checks:
            yield _run("", name, partial(check, method, params))


def check_family(
    method: LoadedMethod | BridgedMethod,
    family: str,
    checks: Collection[str] = ALL,
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Result]:
    """The results of one family; a single line where there is nothing for the method, or where it cannot run."""
    specimen = specimen_of(family)
    allowed = method.traits.families
    if allowed and specimen.kind not in allowed:
        yield Result(family, "placement", "not applicable", f"its traits name {', '.join(allowed)} models only", 0.0)
        return
    try:
        bench = Bench(method, _parsed(method, params), specimen)
        if not bench.declared:
            yield Result(family, "placement", "not applicable", "it finds nothing to train here", 0.0)
            return
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the report is where it belongs
        yield Result(family, "placement", "failed", _words(error), 0.0)
        return
    tried = _run(family, "start", partial(_try, bench))
    if tried.status == "failed":
        yield tried
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, check in CHECKS.items():
            if name not in checks:
                continue
            yield _run(family, name, partial(check, bench, Path(folder)))


@cache
def specimen_of(family: str) -> Specimen:
    """The specimen of a family, made once per process."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    root = Path(tempfile.mkdtemp(prefix="pet-studio-check-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return make_specimen(family, root)


def _try(bench: Bench) -> None:
    """Answer once; a method that cannot would fail every check for the same reason."""
    answers = bench.logits(bench.attach())
    require(bool(torch.isfinite(answers).all()), "its answers are not finite numbers from the start")


def _parsed(method: LoadedMethod | BridgedMethod, raw: Mapping[str, Any]) -> Params:
    params, problems = method.parse(dict(raw), "params")
    if params is None:
        raise CheckFailedError(f"has no complete defaults: {problems[0]}")
    return params


def _run(family: str, name: str, check: Callable[[], None]) -> Result:
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
    """What went wrong, in one line: messages of torch go on for paragraphs."""
    if isinstance(error, StudioError):
        place = f"{error.where}: " if error.where else ""
        text = f"{place}{_first(error.message)}" + (f" ({error.hint})" if error.hint else "")
    elif isinstance(error, CheckFailedError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {_first(str(error))}"
    return " ".join(text.split())


def _first(text: str) -> str:
    return text.partition("\n\n")[0]
