"""``python -m studio.conformance FOLDER --json FILE``: check the plugin in FOLDER and write the report."""

import argparse
import json
import sys
from pathlib import Path

from studio.core.errors import StudioError


def main(argv: list[str]) -> int:
    """Exit code 0 if every check passed, 1 if one failed, 2 if the plugin cannot be loaded."""
    parser = argparse.ArgumentParser(prog="studio.conformance")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args(argv)

    from studio.extensions.loader import load_method
    from studio.extensions.manifest import read_manifest
    from studio.extensions.registry import Plugin

    try:
        folder = arguments.folder.resolve()
        method = load_method(Plugin(read_manifest(folder), folder))
    except StudioError as error:
        arguments.json.write_text(json.dumps({"error": {"message": error.message, "where": error.where,
                                                        "hint": error.hint}}), encoding="utf-8")  # fmt: skip
        return 2
    import torch

    from studio.conformance.kit import check_method

    torch.set_num_threads(1)
    report = check_method(method)
    arguments.json.write_text(json.dumps(report.as_json(), indent=1), encoding="utf-8")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
