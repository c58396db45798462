"""Merge a run's adapter into its base model: ``python -m studio.worker.merge RUN_DIR OUT_DIR``."""

import sys
from pathlib import Path

from studio.core.plan import Plan
from studio.models.child import child_main
from studio.rundir.layout import RunFolder, read_json

USAGE = "usage: python -m studio.worker.merge RUN_DIR OUT_DIR"


def main(arguments: list[str]) -> int:
    """Merge and report in JSON lines on stdout; the exit code is 0, 1 (failed), 2 (wrong input) or 3 (machine)."""
    if len(arguments) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    folder, out = RunFolder(Path(arguments[0])), Path(arguments[1])
    plan = Plan.model_validate(read_json(folder.plan))
    from studio.engine.merged import write_merged  # torch takes seconds; a wrong call need not wait for it

    return child_main(lambda report: write_merged(plan, folder.artifacts / "adapter", out, report))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
