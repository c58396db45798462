"""Downloads from a stand-in hub: progress, resume, cancel, gates and every refusal in words."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from studio.core.errors import Cancelled, MachineError, StudioError, UserError
from studio.models.hub import discard_download, download_model, downloads
from studio.models.library import ModelLibrary
from tests.helpers.hub_server import HubRepo, HubState, serve_hub
from tests.helpers.weights import LLAMA, llama_shapes, write_safetensors

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("repo")
    write_safetensors(folder / WEIGHTS, llama_shapes(hidden=256, intermediate=512, vocab=4096), fill=7)
    config = {**LLAMA, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 4096}
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "README.md": b"---\nlicense: apache-2.0\n---\n# Tiny\n",
        WEIGHTS: (folder / WEIGHTS).read_bytes(),
        "pytorch_model.bin": b"pickle",
        "modeling_tiny.py": b"raise SystemExit",
        "onnx/model.safetensors": b"other",
    }


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


def download(library: ModelLibrary, hub: HubState, **options: object) -> object:
    return download_model("org/tiny", None, library, endpoint=hub.url, **options)  # type: ignore[arg-type]


def test_that_a_download_lands_in_the_library_with_rising_progress(
    files: dict[str, bytes], library: ModelLibrary
) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # the user's click goes online all the same
    seen: list[float] = []
    with serve_hub(org__tiny=HubRepo(files)) as hub:
        facts = download_model(
            "org/tiny", None, library, endpoint=hub.url, progress=lambda _, part: seen.append(part or 0.0)
        )
    assert (facts.name, facts.license) == ("tiny", "apache-2.0")
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert set(os.listdir(facts.path)) == {"README.md", "config.json", WEIGHTS, "model.json", "tokenizer.json"}
    assert library.resolve("hub:org/tiny") == library.get("tiny")
    assert library.resolve(f"hub:org/tiny@{HubRepo(files).commit[:8]}") == library.get("tiny")


def test_that_a_commit_at_hand_is_not_downloaded_again(files: dict[str, bytes], library: ModelLibrary) -> None:
    with serve_hub(org__tiny=HubRepo(files)) as hub:
        first = download(library, hub)
        count = len(hub.transfers)
        assert download(library, hub) == first
        assert len(hub.transfers) == count


def test_that_a_newer_commit_stands_beside_the_older_one(files: dict[str, bytes], library: ModelLibrary) -> None:
    with serve_hub(org__tiny=HubRepo(files)) as hub:
        old = download_model("org/tiny", None, library, endpoint=hub.url)
        hub.repos["org/tiny"] = HubRepo(files, commit="f" * 40)
        new = download_model("org/tiny", "main", library, endpoint=hub.url)
    assert (old.name, new.name) == ("tiny", "tiny-fffffff")
    assert library.resolve("hub:org/tiny@fffffff").name == new.name
    assert library.resolve("hub:org/tiny@0123456").name == old.name
    assert library.resolve("hub:org/tiny@main").name == library.resolve("hub:org/tiny").name == new.name


def test_that_a_broken_connection_goes_on_where_it_broke(files: dict[str, bytes], library: ModelLibrary) -> None:
    half = len(files[WEIGHTS]) // 2
    with serve_hub(org__tiny=HubRepo(files)) as hub:
        hub.drop_after[WEIGHTS] = half
        download(library, hub)
        first, second = hub.starts(WEIGHTS)
    assert first == 0
    assert second > half - 2 * 1024**2
    assert (Path(library.get("tiny").path) / WEIGHTS).read_bytes() == files[WEIGHTS]


def test_that_a_cancelled_download_goes_on_later(files: dict[str, bytes], library: ModelLibrary) -> None:
    stop = threading.Event()

    def watch(phase: str, part: float | None) -> None:
        if part is not None and part > 0.5:
            stop.set()

    with serve_hub(org__tiny=HubRepo(files)) as hub:
        hub.pause_s = 0.02
        with pytest.raises(Cancelled):
            download(library, hub, progress=watch, cancelled=stop.is_set)
        assert library.list() == []
        (partial,) = downloads(library).glob("org--tiny@*/*.part")
        have = partial.stat().st_size
        assert 0 < have < len(files[WEIGHTS])
        hub.pause_s = 0.0
        download(library, hub)
        assert hub.starts(WEIGHTS)[-1] == have
    assert (Path(library.get("tiny").path) / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert not list(downloads(library).glob("org--tiny@*"))


def test_that_an_unfinished_download_can_be_thrown_away(library: ModelLibrary) -> None:
    (downloads(library) / "org--tiny@0123").mkdir(parents=True)
    discard_download("org/tiny", library)
    assert not list(downloads(library).iterdir())


def test_that_a_gated_model_asks_for_a_token_and_takes_it(files: dict[str, bytes], library: ModelLibrary) -> None:
    with serve_hub(org__tiny=HubRepo(files, token="secret")) as hub:
        with pytest.raises(UserError, match="gated") as caught:
            download(library, hub)
        assert "token" in caught.value.hint
        with pytest.raises(UserError, match="gated"):
            download(library, hub, token="wrong")
        download(library, hub, token="secret")
    assert library.get("tiny").params > 0
    assert not [f for f in library.root.rglob("*") if f.is_file() and b"secret" in f.read_bytes()]


def test_that_unknown_repositories_and_revisions_are_named(files: dict[str, bytes], library: ModelLibrary) -> None:
    with serve_hub(org__tiny=HubRepo(files)) as hub:
        with pytest.raises(UserError, match="no model 'org/other'"):
            download_model("org/other", None, library, endpoint=hub.url)
        with pytest.raises(UserError, match="no revision 'v9'"):
            download_model("org/tiny", "v9", library, endpoint=hub.url)
        with pytest.raises(UserError, match="ORG/NAME"):
            download_model("../etc", None, library, endpoint=hub.url)


def test_that_pickle_only_repositories_are_refused(library: ModelLibrary) -> None:
    with serve_hub(org__tiny=HubRepo({"config.json": b"{}", "pytorch_model.bin": b"x"})) as hub:
        with pytest.raises(UserError, match="pickle"):
            download(library, hub)
        assert hub.transfers == []


def test_that_a_damaged_file_is_thrown_away(files: dict[str, bytes], library: ModelLibrary) -> None:
    wrong = hashlib.sha256(b"else").hexdigest()
    repo = HubRepo(files, published_sha={WEIGHTS: wrong})
    with serve_hub(org__tiny=repo) as hub, pytest.raises(StudioError, match="damaged"):
        download(library, hub)
    assert not list(downloads(library).rglob("model.safetensors*"))


def test_that_an_unreachable_hub_is_the_machines_fault(library: ModelLibrary) -> None:
    with pytest.raises(MachineError, match="cannot be reached") as caught:
        download_model("org/tiny", None, library, endpoint="http://127.0.0.1:9")
    assert caught.value.exit_code == 3


def test_that_a_hub_in_trouble_says_its_status(library: ModelLibrary) -> None:
    with serve_hub() as hub:
        hub.status = 404
        with pytest.raises(StudioError, match="404"):
            download(library, hub)


def test_that_a_taken_name_is_refused_before_anything_is_downloaded(
    files: dict[str, bytes], library: ModelLibrary
) -> None:
    with serve_hub(org__tiny=HubRepo(files), other__tiny=HubRepo(files)) as hub:
        download(library, hub)
        count = len(hub.transfers)
        with pytest.raises(UserError, match="already has"):
            download_model("other/tiny", None, library, endpoint=hub.url)
        assert len(hub.transfers) == count
