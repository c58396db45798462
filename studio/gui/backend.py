"""The window's only door to the services; injected into screens, replaced by a fake in tests.

Every method may take long and is called through ``run_task``, except where its docstring says it is quick.
Services are imported at the first call, so that the window paints before they load.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.paths import Home, home

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from studio.api import Site
    from studio.catalog.rows import RunFilter, RunRow
    from studio.core.errors import StudioError
    from studio.core.facts import DataFacts, DeviceFacts, DeviceSample, ModelFacts
    from studio.core.forecast import DeviceFit, Estimate
    from studio.core.plan import Plan, PlanOutcome
    from studio.core.problems import Problem
    from studio.datasets.formats import Format
    from studio.datasets.lint.finding import Finding
    from studio.datasets.peek import Peek
    from studio.datasets.preview import PreviewRow
    from studio.datasets.statistics import Statistics
    from studio.service.accuracy import Accuracy
    from studio.service.check_reports import Report
    from studio.service.methods import Count, MethodInfo
    from studio.service.plugins import PluginInfo
    from studio.service.run_report import Comparison
    from studio.service.settings import Settings
    from studio.service.side_by_side import Counted

Progress = Callable[[str, float | None], None]
Cancelled = Callable[[], bool]
PREVIEW_TOKENS = 2048  # longest row of a preview


@dataclass(frozen=True)
class Check:
    """What is known about a draft: all its problems, and as much of plan and estimate as they allow."""

    problems: "tuple[Problem, ...]"
    plan: "Plan | None" = None
    estimate: "Estimate | None" = None
    device: "DeviceFacts | None" = None


class Backend:
    """Services as plain methods."""

    # --- shell, New run, first run, Settings -----------------------------------------------------------------

    def home(self) -> Home:
        """Quick."""
        return home()

    def models(self) -> "list[ModelFacts]":
        from studio.service import libraries

        return libraries.models().list()

    def datasets(self) -> "list[DataFacts]":
        from studio.service import libraries

        return libraries.datasets().list()

    def methods(self) -> "list[MethodInfo]":
        from studio.service.methods import list_methods

        return [method for method in list_methods() if method.kind == "method"]

    def model_problems(self) -> "list[Problem]":
        """Damaged or incomplete entries of the model library."""
        from studio.service import libraries

        return list(libraries.models().problems())

    def dataset_problems(self) -> "list[Problem]":
        """Damaged entries of the dataset library."""
        from studio.service import libraries

        return list(libraries.datasets().problems())

    def broken_methods(self) -> "list[StudioError]":
        """What is wrong with the plugins that cannot be used."""
        from studio.service.methods import method_errors

        return method_errors()

    def devices(self) -> "list[DeviceFacts]":
        from studio.service.devices import list_devices

        return list(list_devices())

    def sites(self, model_source: str) -> "tuple[Site, ...]":
        from studio.models.sites import find_sites
        from studio.service import libraries

        return find_sites(Path(libraries.models().resolve(model_source).path))

    def select_sites(self, sites: "Sequence[Site]", where: str) -> "tuple[Site, ...]":
        """The sites that an expression selects; UserError if it is none. Quick."""
        from studio.models.where import select

        return select(sites, where)

    def data_facts(self, source: str) -> "DataFacts":
        from studio.service import libraries

        return libraries.datasets().resolve(source)

    def count(
        self, model_source: str, method: str, params: Mapping[str, Any], where: str | None, budget: int | None = None
    ) -> "Count":
        from studio.service.methods import count

        return count(model_source, method, dict(params), where, budget)

    def add_model(self, path: Path, *, progress: Progress, cancelled: Cancelled) -> "ModelFacts":
        from studio.service import libraries

        return libraries.models().add(path, progress=progress, cancelled=cancelled)

    def add_dataset(self, path: Path, *, progress: Progress, cancelled: Cancelled) -> "DataFacts":
        from studio.service import libraries

        return libraries.datasets().add(path, progress=progress, cancelled=cancelled)

    def peek_dataset(self, path: Path) -> "Peek":
        """The first rows of a file that is no dataset yet."""
        from studio.datasets.peek import peek

        return peek(path)

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

    def formats(self) -> "dict[str, Format]":
        """The dataset formats by name, with their roles. Quick."""
        from studio.datasets.formats import FORMATS

        return FORMATS

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

    def active_runs(self) -> list[str]:
        """Ids of runs that train now."""
        from studio.core.state import ACTIVE
        from studio.service import runs

        runs.refresh()
        return [run.id for run in runs.list_runs(runs.RunFilter(states=tuple(sorted(ACTIVE))))]

    def stop_run(self, run_id: str) -> None:
        """Save and stop."""
        from studio.service.control_run import stop

        stop(run_id)

    def export_run(self, run_id: str, form: str, out: Path) -> str:
        """Write a run's result to the new folder ``out``, as "merged" or "peft"; what was done, in words. Slow."""
        from studio.core.units import format_bytes
        from studio.service.export import export_merged, export_peft

        if form == "peft":
            return f"The adapter is in {export_peft(run_id, out)}"
        written = export_merged(run_id, out)
        return f"The merged model ({format_bytes(written['bytes'])}) is in {written['folder']}"

    # --- Run, Runs, Models, Data, Methods, Devices (appended by their owner) ----------------------------------

    def run_folder(self, run_id: str) -> Path:
        """Where a run lives. Quick."""
        return home().runs / run_id

    def newest_run(self) -> str | None:
        from studio.service import runs

        newest = runs.list_runs(sort="-created", limit=1)
        return newest[0].id if newest else None

    def run_spec(self, run_id: str) -> dict[str, Any]:
        from studio.rundir.layout import RunFolder, read_json

        return dict(read_json(RunFolder(self.run_folder(run_id)).spec))

    def pause_run(self, run_id: str) -> None:
        from studio.service.control_run import pause

        pause(run_id)

    def resume_run(self, run_id: str) -> None:
        from studio.service.control_run import resume

        resume(run_id)

    def save_run(self, run_id: str) -> None:
        from studio.service.control_run import save_now

        save_now(run_id)

    def refresh_runs(self) -> set[str]:
        """Read what run folders have new into the catalog; ids of the runs that changed."""
        from studio.service import runs

        return runs.refresh()

    def list_runs(self, wanted: "RunFilter", sort: str, limit: int, offset: int) -> "list[RunRow]":
        from studio.service import runs

        return runs.list_runs(wanted, sort=sort, limit=limit, offset=offset)

    def count_runs(self, wanted: "RunFilter") -> int:
        from studio.service import runs

        return runs.count_runs(wanted)

    def curve(self, run_id: str, metric: str) -> "tuple[NDArray[Any], NDArray[Any]]":
        from studio.service import runs

        return runs.curve(run_id, metric)

    def metric_names(self, run_id: str) -> list[str]:
        from studio.service import runs

        return runs.metric_names(run_id)

    def compare_runs(self, run_ids: Sequence[str]) -> "Comparison":
        from studio.service import runs

        return runs.compare(run_ids)

    def note_run(self, run_id: str, text: str) -> None:
        from studio.service import runs

        runs.note(run_id, text)

    def rename_run(self, run_id: str, name: str) -> None:
        from studio.service import runs

        runs.rename(run_id, name)

    def set_tags(self, run_id: str, before: Sequence[str], after: Sequence[str]) -> None:
        """Take off and put on what differs."""
        from studio.service import runs

        gone = [text for text in before if text not in after]
        added = [text for text in after if text not in before]
        if gone:
            runs.untag(run_id, *gone)
        if added:
            runs.tag(run_id, *added)

    def star_runs(self, run_ids: Sequence[str], on: bool) -> None:
        from studio.service import runs

        for run_id in run_ids:
            runs.star(run_id, on)

    def trash_runs(self, run_ids: Sequence[str]) -> None:
        from studio.service import runs

        for run_id in run_ids:
            runs.trash(run_id)

    def restore_runs(self, run_ids: Sequence[str]) -> None:
        from studio.service import runs

        for run_id in run_ids:
            runs.restore(run_id)

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Remove runs with their files, for good."""
        from studio.service import runs

        for run_id in run_ids:
            runs.delete(run_id)

    def export_curves(self, run_id: str, path: Path) -> int:
        from studio.service import runs

        return runs.export_curves(run_id, path)

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

    def download_model(
        self, repo: str, revision: str | None, *, progress: Progress, cancelled: Cancelled
    ) -> "ModelFacts":
        from studio.service import libraries

        return libraries.download_model(repo, revision, progress=progress, cancelled=cancelled)

    def remove_model(self, name: str) -> None:
        from studio.service import libraries

        libraries.models().remove(name)

    def dataset_rows(self, name: str, start: int, stop: int) -> list[dict[str, Any]]:
        from studio.service import libraries

        return libraries.datasets().open(name).rows(start, stop)

    def preview(
        self, name: str, format: str, mapping: Mapping[str, str], model: str, start: int, count: int
    ) -> "list[PreviewRow]":
        """Rows rendered with this mapping, as tokens of ``model`` unless empty; InvalidSpecError for a wrong one."""
        from studio.core.errors import InvalidSpecError
        from studio.datasets.check import check_mapping
        from studio.datasets.encode import Encoder
        from studio.datasets.labels import find_labels
        from studio.datasets.preview import preview
        from studio.service import libraries

        stored = libraries.datasets().open(name)
        classes = format == "classification"
        labels = (
            find_labels(stored, mapping["label"]) if classes and mapping.get("label") in stored.facts.columns else ()
        )
        problems = check_mapping(stored.facts, format, mapping, labels)
        if problems:
            raise InvalidSpecError(problems)
        encoder = None
        if model:
            path = Path(libraries.models().get(model).path)
            task = "classification" if classes else "sft"
            encoder = Encoder(path, task=task, format=format, mapping=mapping, labels=labels, max_length=PREVIEW_TOKENS)
        return preview(stored, encoder, format, mapping, labels, start, count)

    def measure_dataset(self, name: str, model: str, *, progress: Progress, cancelled: Cancelled) -> "Statistics":
        """Lengths of a dataset's rows in tokens of a model, and its answers."""
        from studio.datasets.encode import Encoder
        from studio.datasets.statistics import WHOLE, measure
        from studio.service import libraries

        stored = libraries.datasets().open(name)
        facts = stored.facts
        encoder = Encoder(
            Path(libraries.models().get(model).path), mapping=facts.mapping, labels=facts.labels, max_length=WHOLE,
            task="classification" if facts.format == "classification" else "sft", format=facts.format,
        )  # fmt: skip
        return measure(stored, encoder, progress=progress, cancelled=cancelled)

    def update_dataset(self, name: str, format: str, mapping: Mapping[str, str]) -> "DataFacts":
        from studio.service import libraries

        return libraries.datasets().update(name, format=format, mapping=mapping)

    def lint_dataset(self, name: str, *, progress: Progress, cancelled: Cancelled) -> "list[Finding]":
        """Everything that is wrong with the rows of a dataset."""
        from studio.service import libraries

        return libraries.datasets().lint(name, progress=progress, cancelled=cancelled)

    def mend_dataset(
        self, name: str, findings: "Sequence[Finding]", *, progress: Progress, cancelled: Cancelled
    ) -> "DataFacts":
        """A copy of a dataset without these faults."""
        from studio.service import libraries

        return libraries.datasets().mend(name, findings, progress=progress, cancelled=cancelled)

    def remove_dataset(self, name: str) -> None:
        from studio.service import libraries

        libraries.datasets().remove(name)

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
