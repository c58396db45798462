"""Convert a GGUF file to a safetensors folder: ``python -m studio.worker.convert GGUF OUT_DIR``."""

import sys
from pathlib import Path

from studio.models.child import child_main

USAGE = "usage: python -m studio.worker.convert GGUF OUT_DIR"


def main(arguments: list[str]) -> int:
    """Convert and report in JSON lines on stdout; the exit code is 0, 1 (failed), 2 (wrong input) or 3 (machine)."""
    if len(arguments) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    file, folder = Path(arguments[0]), Path(arguments[1])
    from studio.engine.gguf import convert_gguf  # torch takes seconds; a wrong call need not wait for it

    return child_main(lambda report: convert_gguf(file, folder, report))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
