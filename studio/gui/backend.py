"""The window's only door to the services; injected into screens, replaced by a fake in tests.

Every method may take long and is called through ``run_task``, except where its docstring says it is quick.
Services are imported at the first call, so that the window paints before they load.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.paths import Home, home
from studio.gui.library_backend import Cancelled, LibraryBackend, Progress
from studio.gui.run_backend import RunBackend

if TYPE_CHECKING:
    from studio.core.errors import StudioError
    from studio.core.facts import DeviceFacts, DeviceSample
    from studio.core.forecast import DeviceFit, Estimate
    from studio.core.plan import Plan, PlanOutcome
    from studio.core.problems import Problem
    from studio.service.accuracy import Accuracy
    from studio.service.check_reports import Report
    from studio.service.methods import Count, MethodInfo
    from studio.service.plugins import PluginInfo
    from studio.service.settings import Settings
    from studio.service.side_by_side import Counted


@dataclass(frozen=True)
class Check:
    """What is known about a draft: all its problems, and as much of plan and estimate as they allow."""

    problems: "tuple[Problem, ...]"
    plan: "Plan | None" = None
    estimate: "Estimate | None" = None
    device: "DeviceFacts | None" = None


class Backend(LibraryBackend, RunBackend):
    """Services as plain methods."""

    def home(self) -> Home:
        """Quick."""
        return home()

    def methods(self) -> "list[MethodInfo]":
        from studio.service.methods import list_methods

        return [method for method in list_methods() if method.kind == "method"]

    def broken_methods(self) -> "list[StudioError]":
        """What is wrong with the plugins that cannot be used."""
        from studio.service.methods import method_errors

        return method_errors()

    def devices(self) -> "list[DeviceFacts]":
        from studio.service.devices import list_devices

        return list(list_devices())

    def count(
        self, model_source: str, method: str, params: Mapping[str, Any], where: str | None, budget: int | None = None
    ) -> "Count":
        from studio.service.methods import count

        return count(model_source, method, dict(params), where, budget)

    def check(self, raw: Mapping[str, Any]) -> Check:
        """Validate, plan and estimate a draft by formula."""
        from studio.service.plan_run import plan_run

        devices = self.devices()
        return _checked(plan_run(raw, devices=devices), devices)

    def refine(self, raw: Mapping[str, Any]) -> Check:
        """As ``check``, with the forecast simulated where that is possible."""
        from studio.service.plan_run import plan_run
        from studio.service.simulation import simulator

        devices = self.devices()
        return _checked(plan_run(raw, devices=devices, simulator=simulator()), devices)

    def device_fits(self, raw: Mapping[str, Any]) -> "list[DeviceFit]":
        """Which devices could run a draft: this machine's first, then common cards."""
        from studio.service.device_fits import device_fits
        from studio.service.simulation import simulator

        return device_fits(raw, simulator())

    def probe(self, raw: Mapping[str, Any], *, progress: Progress, cancelled: Cancelled) -> None:
        """Run a few real steps of a draft and keep what they took, for ``refine`` to use."""
        from studio.service.probe import run_probe

        run_probe(raw, progress=progress, cancelled=cancelled)

    def start_run(self, raw: Mapping[str, Any]) -> str:
        """Start what the draft describes; the run's id."""
        from studio.service.start_run import start_run

        return start_run(raw)

    def quickstart_spec(self) -> dict[str, Any]:
        from studio.service.quickstart import quickstart_spec

        return dict(quickstart_spec())

    def starter_missing(self) -> bool:
        """Whether the starter pack is not complete yet."""
        from studio.service.starter import missing

        return bool(missing(home()))

    def fetch_starter(self, *, progress: Progress, cancelled: Cancelled) -> None:
        from studio.service.starter import fetch_starter

        fetch_starter(home(), progress=progress, cancelled=cancelled)

    def read_spec(self, path: Path) -> dict[str, Any]:
        from studio.service.spec_file import read_spec

        return dict(read_spec(path))

    def write_spec(self, raw: Mapping[str, Any], path: Path) -> None:
        from studio.service.spec_file import write_spec

        write_spec(dict(raw), path)

    def load_draft(self) -> dict[str, Any] | None:
        """The form as it was left; None when there is none or it cannot be read. Quick."""
        path = home().root / "draft.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return raw if isinstance(raw, dict) else None

    def save_draft(self, raw: Mapping[str, Any]) -> None:
        path = home().root / "draft.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".json.new")
        fresh.write_text(json.dumps(raw, indent=1), encoding="utf-8")
        os.replace(fresh, path)

    def load_settings(self) -> "Settings":
        """Quick."""
        from studio.service.settings import load

        return load()

    def save_settings(self, settings: "Settings") -> None:
        from studio.service.settings import save

        save(settings)

    def has_token(self) -> bool:
        """Whether a hub token is kept."""
        from studio.models.tokens import get_token

        return get_token() is not None

    def save_token(self, token: str | None) -> None:
        """Keep a hub token, or forget it."""
        from studio.models import tokens

        if token is None:
            tokens.delete_token()
        else:
            tokens.set_token(token)

    def sample_device(self, device_id: str) -> "DeviceSample":
        from studio.service.devices import sample

        return sample(device_id)

    def held_by_runs(self, device_id: str) -> int:
        """Bytes of a device that the runs under way hold, as far as the machine tells."""
        from studio.core.state import ACTIVE
        from studio.rundir.layout import RunFolder, read_json
        from studio.service import runs
        from studio.service.devices import sample

        active = runs.list_runs(runs.RunFilter(states=tuple(sorted(ACTIVE))))
        workers = [RunFolder(self.run_folder(run.id)).worker for run in active]
        pids = [read_json(worker).get("pid") for worker in workers if worker.exists()]
        return sum(sample(device_id, pid).process_bytes or 0 for pid in pids if pid)

    def accuracy(self) -> "Accuracy":
        """The studio's own forecasts against what finished runs measured."""
        from studio.service.accuracy import list_accuracy

        return list_accuracy()

    def count_methods(
        self, model_source: str, methods: Sequence[str], budget: int | None, *, progress: Progress, cancelled: Cancelled
    ) -> "list[Counted]":
        """Each method with its defaults on a model, sized to the budget if there is one."""
        from studio.service.side_by_side import count_methods

        return count_methods(model_source, methods, budget, progress=progress, cancelled=cancelled)

    def plugins(self) -> "list[PluginInfo]":
        from studio.service.plugins import list_plugins

        return list_plugins()

    def install_plugin(self, path: Path, *, replace: bool = False) -> "PluginInfo":
        from studio.service.plugins import install

        return install(path, replace=replace)

    def enable_plugin(self, plugin_id: str) -> "PluginInfo":
        from studio.service.plugins import enable

        return enable(plugin_id)

    def disable_plugin(self, plugin_id: str) -> "PluginInfo":
        from studio.service.plugins import disable

        return disable(plugin_id)

    def remove_plugin(self, plugin_id: str) -> None:
        from studio.service.plugins import remove

        remove(plugin_id)

    def check_plugin(self, plugin_id: str, *, progress: Progress, cancelled: Cancelled) -> "Report":
        """Run the conformance kit on a plugin; Cancelled if the user gave up."""
        from studio.service.plugins import check, folder_of

        progress("Checking on tiny models, which takes a minute or two", None)
        return check(folder_of(plugin_id), cancelled=cancelled)

    def plugin_report(self, plugin_id: str) -> "Report | None":
        """What the last check of the plugin found, if its files are the same."""
        from studio.service.plugins import report_of

        return report_of(plugin_id)

    def plugin_log(self, plugin_id: str) -> str:
        """The end of what the plugin printed; empty if nothing."""
        from studio.service.plugins import log_of

        return log_of(plugin_id)


def _checked(outcome: "PlanOutcome", devices: "Sequence[DeviceFacts]") -> Check:
    chosen = outcome.plan.device if outcome.plan else None
    device = next((device for device in devices if device.id == chosen), None)
    return Check(tuple(outcome.problems), outcome.plan, outcome.estimate, device)
