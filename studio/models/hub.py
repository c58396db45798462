"""Base models from the hub: downloaded on the user's click, resumable, into the library."""

import re
import shutil
from pathlib import Path

from studio.core.errors import UserError
from studio.core.facts import ModelFacts
from studio.core.progress import CancelCheck, Progress
from studio.models.child import run_child
from studio.models.library import ModelLibrary

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?")

# The child goes online whatever HF_HUB_OFFLINE says: a download is the user's explicit wish, while the variable
# (which the studio sets for its own workers) stops libraries from calling the hub unasked. Xet is off because a
# transfer that it broke off starts again from nothing. A token comes from the caller or there is none.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_TOKEN": "",
}


def download_model(
    repo: str,
    revision: str | None,
    library: ModelLibrary,
    *,
    name: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> ModelFacts:
    """Download the model ``repo`` ("ORG/NAME") at ``revision`` (else its main branch) into the library.

    Only its safetensors, config and tokenizer files are fetched. After a cancel, an error or a crash the next call
    goes on where this one stopped. A commit that the library already has is not downloaded again.
    """
    if not _REPO.fullmatch(repo):
        raise UserError(f"{repo!r} is no model name of the hub", where="model", hint="write it as ORG/NAME")
    known = {entry.source: entry.facts for entry in library.entries() if entry.source.startswith(f"hub:{repo}@")}
    name = name or repo.rpartition("/")[2]
    if not known:
        library.check_free(name)
    root = downloads(library)
    root.mkdir(parents=True, exist_ok=True)
    request = {
        "repo": repo,
        "revision": revision,
        "endpoint": endpoint,
        "token": token,
        "root": str(root),
        "known": [source.partition("@")[2] for source in known],
    }
    environment = {**_ENVIRONMENT, "HF_HOME": str(root / "hub-cache")}
    result = run_child(
        "studio.models.fetch", request=request, environment=environment, progress=progress, cancelled=cancelled
    )
    source = f"hub:{repo}@{result['commit']}"
    if result["folder"] is None:
        return known[source]
    if known and library.has(name):
        name = f"{name}-{result['commit'][:7]}"  # an older commit of the same repository keeps its name
    return library.adopt(Path(result["folder"]), name=name, source=source, revision=revision or "main")


def downloads(library: ModelLibrary) -> Path:
    """The folder of unfinished downloads."""
    return library.root / ".downloads"


def discard_download(repo: str, library: ModelLibrary) -> None:
    """Delete what unfinished downloads of ``repo`` have left, whatever their commit."""
    for folder in downloads(library).glob(f"{repo.replace('/', '--')}@*"):
        shutil.rmtree(folder)
