"""The downloading process: one model from the hub into a folder, resumable: ``python -m studio.models.fetch``."""

import errno
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from studio.core.errors import MachineError, StudioError, UserError
from studio.core.progress import Progress
from studio.core.units import format_bytes
from studio.models.child import child_main, read_request
from studio.models.files import check_disk, choose_files
from studio.models.header import PICKLES

_CHUNK_BYTES = 1024**2  # what a cancel loses at most, and how fine the progress is; the hub's own default is 10 MB
_SETTINGS = "save a hub token in Settings"


def main() -> int:
    """Read the request from stdin, download, report in JSON lines on stdout."""
    return child_main(lambda report: _fetch_or_explain(read_request(), report))


def fetch(request: Mapping[str, Any], report: Progress) -> dict[str, Any]:
    """Download what ``request`` names and return its commit and folder.

    Files that are complete stay, a partial file goes on where it stopped: both carry the commit in the folder's
    name. A commit in ``known`` is already in the library and is not downloaded again.
    """
    from huggingface_hub import HfApi

    repo, token = request["repo"], request["token"] or False
    report("asking the hub", None)
    api = HfApi(endpoint=request["endpoint"], token=token)
    info = api.model_info(repo, revision=request["revision"], files_metadata=True)
    commit = str(info.sha)
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        raise StudioError(f"the hub names no commit for {repo} but {commit!r}", where=f"hub:{repo}")
    if commit in request["known"]:
        return {"commit": commit, "folder": None}
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    names = choose_files(siblings)
    _check_complete(repo, names, siblings)
    folder = Path(request["root"]) / f"{repo.replace('/', '--')}@{commit[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    download = _Download(api, repo, commit, token, folder, report)
    download.run([siblings[name] for name in names])
    return {"commit": commit, "folder": str(folder)}


class _Download:
    """Files of one commit, one after the other; ``done`` and ``total`` are bytes over all of them."""

    def __init__(self, api: Any, repo: str, commit: str, token: str | bool, folder: Path, report: Progress) -> None:
        self.api, self.repo, self.commit, self.token = api, repo, commit, token
        self.folder, self.report = folder, report
        self.done = self.total = 0
        self.name = ""

    def run(self, siblings: list[Any]) -> None:
        self.total = sum(sibling.size for sibling in siblings)
        here = sum(file.stat().st_size for file in self.folder.iterdir())
        check_disk(self.folder, max(0, self.total - here))
        for sibling in siblings:
            self.name = sibling.rfilename
            target = self.folder / self.name
            if target.is_file() and target.stat().st_size == sibling.size:
                self.add(sibling.size)
            else:
                self._get(sibling, target)

    def add(self, bytes_: int) -> None:
        self.done += bytes_
        phase = f"downloading {self.name} ({format_bytes(self.done)} of {format_bytes(self.total)})"
        self.report(phase, self.done / self.total if self.total else None)

    def _get(self, sibling: Any, target: Path) -> None:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils._headers import build_hf_headers

        part = target.with_name(f"{target.name}.part")
        part.touch()
        with part.open("r+b") as stream:
            have = min(stream.seek(0, 2), sibling.size)
            stream.seek(have)
            stream.truncate()
            self.add(have)
            http_get(
                self.api.endpoint + f"/{self.repo}/resolve/{self.commit}/{sibling.rfilename}",
                _Counted(stream, self),  # type: ignore[arg-type]
                resume_size=have,
                headers={**build_hf_headers(token=self.token), "Accept-Encoding": "identity"},
                expected_size=sibling.size,
            )
        self._verify(sibling, part)
        part.replace(target)

    def _verify(self, sibling: Any, part: Path) -> None:
        """Compare with the checksum that the hub publishes for large files; a damaged file is deleted."""
        if sibling.lfs is None:
            return
        self.report(f"checking {sibling.rfilename}", self.done / self.total if self.total else None)
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sibling.lfs.sha256:
            part.unlink()
            raise StudioError(
                f"{sibling.rfilename} arrived damaged: its checksum is not the one that the hub publishes",
                hint="download the model again; the other files are kept",
            )


class _Counted:
    """A file that reports every chunk written; truncating it takes the bytes back."""

    def __init__(self, stream: IO[bytes], download: _Download) -> None:
        self.stream, self.download = stream, download

    def write(self, chunk: bytes) -> int:
        self.download.add(len(chunk))
        return self.stream.write(chunk)

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def truncate(self) -> int:
        here, end = self.stream.tell(), self.stream.seek(0, 2)
        self.stream.seek(here)
        self.download.done -= end - here
        return self.stream.truncate()


def _check_complete(repo: str, names: list[str], offered: Mapping[str, Any]) -> None:
    """UserError when the repository has no config or no safetensors weights."""
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return
    suffixes = {Path(name).suffix for name in offered}
    if suffixes & PICKLES:
        reason = "has only pickle weights, which are refused because opening them can run code"
    elif ".gguf" in suffixes:
        reason = "has only GGUF files"
    else:
        reason = "has no model that transformers can load (config.json and safetensors)"
    hint = "choose a repository with safetensors files, or download a file yourself and add it"
    raise UserError(f"{repo} {reason}", where=f"hub:{repo}", hint=hint)


def _fetch_or_explain(request: Mapping[str, Any], report: Progress) -> dict[str, Any]:
    """``fetch``, with the hub's and the network's failures put into words."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    try:
        return fetch(request, report)
    except HfHubHTTPError as error:
        raise _refusal(error, request) from error
    except (httpx2.HTTPError, ConnectionError, TimeoutError) as error:
        raise MachineError(
            f"the hub cannot be reached: {error or type(error).__name__}",
            where=request["endpoint"] or "the hub",
            hint="check the connection and try again: what has been downloaded is kept",
        ) from error
    except OSError as error:
        raise _disk_error(error, request) from error


def _refusal(error: Any, request: Mapping[str, Any]) -> StudioError:
    from huggingface_hub import errors

    repo, revision = request["repo"], request["revision"]
    where, status = f"hub:{repo}", getattr(error.response, "status_code", 0)
    if isinstance(error, errors.GatedRepoError):
        hint = f"accept its terms on its page on the hub, {_SETTINGS} and download it again"
        return UserError(f"{repo} is gated: its authors ask you to accept their terms first", where=where, hint=hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{repo} has no revision {revision!r}", where=where, hint="name a branch, tag or commit of it")
    if isinstance(error, errors.RepositoryNotFoundError):
        hint = f"check the name ORG/NAME; if the model is private, {_SETTINGS}"
        return UserError(f"the hub has no model {repo!r} that you may see", where=where, hint=hint)
    if status in (401, 403):
        return UserError(f"the hub refused the token ({status})", where=where, hint=f"{_SETTINGS} that is still valid")
    hint = "try again later: what has been downloaded is kept"
    return MachineError(f"the hub answered with an error ({status})", where=where, hint=hint)


def _disk_error(error: OSError, request: Mapping[str, Any]) -> StudioError:
    if error.errno == errno.ENOSPC:
        return MachineError("the disk is full", where=request["root"], hint="free some space and download it again")
    hint = "try again: what has been downloaded is kept"
    return MachineError(f"the download failed: {error}", where=request["root"], hint=hint)


if __name__ == "__main__":
    sys.exit(main())
