"""The window's door to runs and their catalog; see ``studio.gui.backend``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.paths import home

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from studio.catalog.rows import RunFilter, RunRow
    from studio.service.run_report import Comparison


class RunBackend:
    """Runs: watched, controlled, listed, compared and exported."""

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
