"""Placement expressions: what they select, and what they refuse with its column."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.api import Site
from studio.core.errors import UserError
from studio.models.header import TensorInfo
from studio.models.sites import sites_of
from studio.models.where import select
from tests.helpers.weights import LLAMA, llama_shapes

LAYERS = 4
SITES = sites_of(LLAMA, {n: TensorInfo("bfloat16", s, 0, "f") for n, s in llama_shapes(layers=LAYERS).items()})


def paths(where: str) -> list[str]:
    return [site.path for site in select(SITES, where)]


def matching(test: object) -> list[str]:
    return [site.path for site in SITES if test(site)]  # type: ignore[operator]


IN_BLOCKS = [s for s in SITES if s.kind in ("linear", "norm") and s.role != "head"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("role in (q, v)", lambda s: s.role in ("q", "v")),
        ("role in (q, v) and layer % 2 == 0", lambda s: s.role in ("q", "v") and s.layer % 2 == 0),
        ("role in [q, 'v']", lambda s: s.role in ("q", "v")),
        ("role in (q)", lambda s: s.role == "q"),
        ("kind == linear", lambda s: s.kind == "linear" and s.layer is not None),
        ("kind == norm", lambda s: s.kind == "norm"),
        ("kind == norm and not role == norm", lambda s: s.kind == "norm" and s.role != "norm"),
        ("role == q and layer >= layers - 2", lambda s: s.role == "q" and s.layer >= LAYERS - 2),
        ("role == q and 1 <= layer < 3", lambda s: s.role == "q" and s.layer in (1, 2)),
        ("role == q and layer in (0, 3)", lambda s: s.role == "q" and s.layer in (0, 3)),
        ("role == q and layer not in (0, 3)", lambda s: s.role == "q" and s.layer in (1, 2)),
        ("role == q or role == k", lambda s: s.role in ("q", "k")),
        ('path == "*.q_proj"', lambda s: s.role == "q"),
        ('path in ("*.q_proj", "layers.0.mlp.*")', lambda s: s.role == "q" or s.path.startswith("layers.0.mlp.")),
        ('kind == linear and path != "*_proj"', lambda s: False),
        ("role == head", lambda s: s.role == "head"),
        ("path == lm_head", lambda s: s.role == "head"),
        ("role in (embed, head)", lambda s: s.role in ("embed", "head")),
        ("kind == embedding", lambda s: s.kind == "embedding"),
        ("role == block and layer == 1", lambda s: s.path == "layers.1"),
        ("kind == attention", lambda s: s.kind == "attention"),
        ("kind == model", lambda s: s.path == ""),
        ("role == gate_up", lambda s: False),  # a role that this model has not
    ],
)
def test_that_an_expression_selects_what_it_says(where: str, expected: object) -> None:
    assert paths(where) == matching(expected)


def test_that_comparing_a_missing_layer_is_never_true() -> None:
    assert "norm" not in paths("kind == norm and layer >= 0")
    assert "norm" not in paths("kind == norm and layer != 0")


def test_that_heads_embeddings_and_containers_come_only_when_named() -> None:
    assert paths("layer >= 0 or role != q") == [s.path for s in IN_BLOCKS]


@pytest.mark.parametrize(
    ("where", "column", "words"),
    [
        ("role in (qq, v)", 10, "unknown role 'qq'"),
        ("kind == liner", 9, "unknown kind 'liner'"),
        ("layer == q", 10, "compares a number with a word"),
        ("layer in (q, v)", 10, "compares a number with a word"),
        ("role == (q, v)", 9, "compares a word with a list"),
        ("role in (q, 1)", 9, "list of words or of numbers"),
        ("role in ()", 9, "list of words or of numbers"),
        ("role < q", 8, "only numbers have an order"),
        ("role", 1, "is no condition"),
        ("layer + 1", 1, "is no condition"),
        ("role == q and 3", 15, "needs a condition"),
        ("layer % 0 == 1", 9, "divides by zero"),
        ("layer * 2 == 4", 1, "not allowed"),
        ("layer == True", 10, "not allowed"),
        ("layer == 1.5", 10, "not allowed"),
        ("role is q", 9, "compares a word"),
        ("path == layers.x", 9, "without quotes"),
        ("role.__class__ == q", 1, "without quotes"),
        ('__import__("os").system("true")', 1, "not allowed"),
        ("[s for s in role]", 1, "not allowed"),
        ("lambda: 1", 1, "not allowed"),
    ],
)
def test_that_anything_else_is_refused_with_its_column(where: str, column: int, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        select(SITES, where)
    assert caught.value.where == f"where, column {column}"
    assert caught.value.hint


@pytest.mark.parametrize("where", ["", "role ==", "role == q and", "(" * 300, "a\0b", "role == q; role", "x" * 3000])
def test_that_unreadable_text_is_refused(where: str) -> None:
    with pytest.raises(UserError, match=r"cannot be read|longer than"):
        select(SITES, where)


def test_that_a_misspelt_role_suggests_one_that_is_there() -> None:
    with pytest.raises(UserError) as caught:
        select(SITES, "role in (gat, up)")
    assert "gate" in caught.value.hint


@given(st.text(alphabet="rolekindpathy()[]=<>!%+-,'\" 0123qvn*.and", max_size=40))
def test_that_no_text_does_anything_but_select_or_be_refused(where: str) -> None:
    with contextlib.suppress(UserError):
        assert all(isinstance(site, Site) for site in select(SITES, where))


@pytest.mark.parametrize(
    ("where", "column", "hint"),
    [
        ("rolle in (q)", 1, "did you mean 'role'?"),
        ("rolle in (q, v)", 1, "did you mean 'role'?"),
        ("role in (q, v) and layr >= 2", 20, "did you mean 'layer'?"),
        ("layr % 2 == 0", 1, ""),
        ("knd == linear", 1, "did you mean 'kind'?"),
        ("q == v", 1, "known: kind, layer, layers, path, role"),
        ("role in (qproj)", 10, ""),
        ("role == qproj", 9, ""),
    ],
)
def test_that_a_misspelt_name_is_an_error_and_not_an_empty_choice(where: str, column: int, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        select(SITES, where)
    assert caught.value.where == f"where, column {column}"
    assert hint in caught.value.hint
