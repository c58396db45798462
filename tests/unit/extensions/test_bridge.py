"""peft's methods in the lists: without peft, with forms, counts, budgets and clear refusals."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studio.api import Site
from studio.core.errors import UserError
from studio.core.spec import MethodSpec, Placement
from studio.extensions.bridge import BridgedMethod, bridge_problems, bridged, load_bridged
from studio.extensions.declaring import count_tensors, declare_at, fit_params
from studio.extensions.methods import open_method
from studio.extensions.registry import discover
from tests.helpers.bridged import PARAMS

METHODS = [load_bridged(plugin) for plugin in bridged()]
SITES = [
    Site(f"layers.{layer}.{name}", "linear", role, layer, d_in, d_out, (d_out, d_in), True)
    for layer in range(3)
    for name, role, d_in, d_out in (("q", "q", 32, 32), ("up", "up", 32, 64), ("down", "down", 64, 32))
]
EMBEDDING = Site("embed", "embedding", "embed", None, 64, 32, (64, 32), False)


@pytest.fixture(params=METHODS, ids=lambda method: method.id)
def method(request: pytest.FixtureRequest) -> BridgedMethod:
    found: BridgedMethod = request.param
    return found


def parsed(method: BridgedMethod, raw: dict[str, Any] | None = None) -> Any:
    params, problems = method.parse(PARAMS.get(method.id, {}) if raw is None else raw, "params")
    assert params is not None, problems
    return params


def get(method_id: str) -> BridgedMethod:
    return next(method for method in METHODS if method.id == method_id)


def test_that_listing_and_counting_import_neither_peft_nor_torch() -> None:
    code = (
        "import sys; from studio.service.methods import list_methods; found = list_methods();"
        "assert sum('peft' in info.tags for info in found) >= 30;"
        "assert not {'peft', 'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_that_the_table_is_what_the_installed_peft_says() -> None:
    root = Path(__file__).resolve().parents[3]
    code = (
        "import json, runpy; made = runpy.run_path('packaging/peft_methods.py')['make_table']();"
        "kept = json.load(open('resources/tables/peft_methods.json', encoding='utf-8'));"
        "assert made == kept, 'run packaging/peft_methods.py'"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=root)


def test_that_every_bridged_method_stands_among_the_others(method: BridgedMethod) -> None:
    plugin = discover().get(method.id, "method")
    assert plugin.manifest.title.endswith("(peft)")
    assert plugin.manifest.tags == ("peft",)
    assert open_method(plugin) is method


def test_that_the_form_can_be_drawn_and_unknown_fields_are_refused(method: BridgedMethod) -> None:
    for field in method.params_schema().get("properties", {}).values():
        assert field["ui"]["label"]
        assert len(field["description"]) <= 80
        assert field["description"].endswith(".")
    params, problems = method.parse({"no_such_field": 1}, "params")
    assert params is None
    assert "params.no_such_field" in [problem.where for problem in problems]
    assert parsed(method, parsed(method).model_dump(mode="json")) == parsed(method)


def test_that_a_fit_stays_within_its_budget_and_grows_with_it(method: BridgedMethod) -> None:
    if not method.can_fit:
        assert method.id in {"peft-beft", "peft-frod", "peft-ia3", "peft-osf", "peft-road", "peft-supertuning",
                             "peft-trainable-tokens"}  # fmt: skip
        return
    counts = []
    for budget in (400, 600, 900) if method.id == "peft-lokr" else (4_000, 9_000, 40_000):
        fitted = fit_params(method, parsed(method), SITES, budget)
        counts.append(sum(count_tensors([declare_at(method, fitted, SITES)]).values()))
        assert counts[-1] <= budget
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_that_a_size_that_does_not_divide_is_refused_with_those_that_do() -> None:
    method = get("peft-c3a")
    with pytest.raises(UserError, match="block_size 24 does not divide 32") as caught:
        method.declare(parsed(method, {"block_size": 24}), SITES)
    assert caught.value.hint == "2, 4, 8, 16, 32 would"
    with pytest.raises(UserError, match="too large") as caught:
        get("peft-shira").declare(parsed(get("peft-shira"), {"r": 500}), SITES)
    assert caught.value.hint == "16 at most"


def test_that_weights_stored_the_other_way_round_are_left_to_the_tuners_that_take_them() -> None:
    flipped = Site("h.0.c_attn", "linear", "qkv", 0, 32, 96, (32, 96), True, transposed=True)
    taking = {method.id for method in METHODS if method.takes(flipped)}
    assert {"peft-vera", "peft-ia3", "peft-gralora"} <= taking
    assert not {"peft-loha", "peft-oft"} & taking


def test_that_a_fit_to_no_sites_leaves_the_sizes() -> None:
    method = get("peft-oft")
    assert method.fit(parsed(method), [EMBEDDING], 1_000) == parsed(method)


def test_that_shared_tensors_are_counted_once() -> None:
    method = get("peft-unilora")
    declared = declare_at(method, parsed(method, {"theta_d_length": 100}), SITES)
    assert count_tensors([declared]) == {"0.shared.unilora_theta_d": 100}


def test_that_tokens_beyond_the_vocabulary_are_refused() -> None:
    method = get("peft-trainable-tokens")
    assert method.parse({}, "params")[1][0].where == "params.token_indices"
    with pytest.raises(UserError, match="vocabulary"):
        method.declare(parsed(method, {"token_indices": [3, 64]}), [EMBEDDING])


def test_that_a_gate_and_a_shared_site_are_problems_of_a_bridged_placement_alone() -> None:
    lora = open_method(discover().get("lora", "method"))
    loha = get("peft-loha")
    placed = [(lora, None, SITES[:3]), (loha, "learned", SITES[2:4]), (lora, 0.5, SITES[:1])]
    assert [(index, hint) for index, _, hint in bridge_problems(placed)] == [
        (1, "leave the gate out"), (1, "choose other sites for one of them")
    ]  # fmt: skip
    assert bridge_problems([(loha, None, SITES[:2]), (lora, None, SITES[2:])]) == []


def test_that_a_start_names_a_folder() -> None:
    placements = (Placement(use="lora"),)
    assert MethodSpec(placements=placements, start="path:/a").start == "path:/a"
    for wrong in ("/a", "hub:org/a", "path: "):
        with pytest.raises(ValueError, match="path:FOLDER"):
            MethodSpec(placements=placements, start=wrong)
