"""A GGUF file becomes a model of the library, through the real conversion process."""

import json
import os
from pathlib import Path

import pytest

from studio.core.errors import Cancelled, UserError
from studio.models.library import ModelLibrary
from tests.helpers.gguf_files import TEMPLATE, write_tiny_gguf


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelLibrary, Path, list[str]]:
    root = tmp_path_factory.mktemp("conversion")
    file = write_tiny_gguf(root / "tiny.gguf")
    library, phases = ModelLibrary(root / "models"), list[str]()
    library.add(file, name="Tiny", progress=lambda phase, _: phases.append(phase))
    return library, file, phases


Converted = tuple[ModelLibrary, Path, list[str]]


def test_that_facts_licence_and_progress_come_with_the_model(converted: Converted) -> None:
    library, file, phases = converted
    facts = library.get("Tiny")
    assert (facts.architecture, facts.dtype, facts.license) == ("LlamaForCausalLM", "bfloat16", "mit")
    assert (facts.layers, facts.vocab, facts.tied_embeddings, facts.has_chat_template) == (2, 320, True, True)
    assert phases[0] == "reading the file"
    assert phases[-1] == "done"
    assert library.problems() == ()
    assert library.resolve(f"path:{file}") == facts


def test_that_the_weights_are_those_of_the_file(converted: Converted) -> None:
    import torch
    from gguf import GGUFReader
    from safetensors.torch import load_file

    library, file, _ = converted
    ours = load_file(Path(library.get("Tiny").path) / "model.safetensors")
    theirs = {tensor.name: torch.tensor(tensor.data.copy()) for tensor in GGUFReader(file).tensors}
    for name, stored in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight"),
        ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"),
    ):
        torch.testing.assert_close(ours[stored], theirs[name].to(torch.bfloat16).reshape(ours[stored].shape))


def test_that_the_tokenizer_and_its_template_come_along(converted: Converted) -> None:
    from tokenizers import Tokenizer

    folder = Path(converted[0].get("Tiny").path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = tokenizer.encode("hello 12<|end|>").tokens
    assert tokens == ["hello", "Ġ", "1", "2", "<|end|>"]  # "smollm" splits digits although "12" is in the vocabulary
    assert (folder / "chat_template.jinja").read_text() == TEMPLATE
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert "local_files_only" not in config


def test_that_the_config_knows_nothing_of_quantisation(converted: Converted) -> None:
    config = json.loads((Path(converted[0].get("Tiny").path) / "config.json").read_text())
    assert "quantization_config" not in config


def test_that_converting_again_is_not_needed(converted: Converted) -> None:
    library, file, _ = converted
    assert library.add(file, name="Tiny") == library.get("Tiny")


def test_that_a_cancelled_conversion_leaves_nothing(tmp_path: Path) -> None:
    library, seen = ModelLibrary(tmp_path / "models"), list[str]()
    with pytest.raises(Cancelled):
        library.add(
            write_tiny_gguf(tmp_path / "t.gguf"),
            progress=lambda phase, _: seen.append(phase),
            cancelled=lambda: bool(seen),
        )
    assert os.listdir(library.root) == []


def test_that_a_damaged_file_is_the_users_error_and_leaves_nothing(tmp_path: Path) -> None:
    file, library = write_tiny_gguf(tmp_path / "t.gguf"), ModelLibrary(tmp_path / "models")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="cut short") as caught:
        library.add(file)
    assert str(file) in caught.value.where
    assert not library.root.exists()
