"""What methods declare is checked and counted before anything is loaded."""

from pathlib import Path

import pytest

from studio.api import ParamDecl, Site
from studio.core.errors import PluginError, UserError
from studio.core.paths import bundled_plugins
from studio.extensions.declaring import count_tensors, declare_at, fit_params
from studio.extensions.loader import LoadedMethod, load_method
from studio.extensions.registry import discover


def site(path: str = "layers.0.q", d_in: int = 8, d_out: int = 6, *, bias: bool = False, **extra: object) -> Site:
    return Site(path, "linear", "q", 0, d_in, d_out, (d_out, d_in), bias, **extra)  # type: ignore[arg-type]


def method(name: str) -> LoadedMethod:
    return load_method(discover().get(name, "method"))


def write_plugin(root: Path, declare: str, *, plugin_id: str = "odd") -> LoadedMethod:
    folder = root / plugin_id
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text(
        f'id = "{plugin_id}"\nkind = "method"\ntitle = "Odd"\nsummary = "Odd."\nversion = "1.0.0"\napi = 1\n'
    )
    (folder / "params.py").write_text(
        "from studio.api import ParamDecl, Params as Base, Traits\n"
        "class Params(Base):\n    pass\n"
        f"traits = Traits()\ndef declare(params, site):\n    {declare}\n"
    )
    registry = discover([root])
    assert registry.errors == ()
    return load_method(registry.get(plugin_id, "method"))


def test_that_every_bundled_plugin_is_sound() -> None:
    registry = discover()
    assert registry.errors == ()
    assert {"lora", "bitfit", "full"} <= set(registry.plugins)
    for plugin in discover([bundled_plugins()]).of_kind("method"):
        loaded = load_method(plugin)
        assert loaded.module.Params()
        assert (plugin.folder / "README.md").read_text().startswith("# ")


def test_that_lora_counts_rank_times_both_sides() -> None:
    lora = method("lora")
    params, _ = lora.parse({"rank": 3}, "params")
    assert params is not None
    assert count_tensors([declare_at(lora, params, [site()])]) == {"0.layers.0.q.A": 24, "0.layers.0.q.B": 18}


@pytest.mark.parametrize("budget", [14, 15, 100, 1399])
def test_that_a_budget_is_met_from_below_and_used_up(budget: int) -> None:
    lora = method("lora")
    params, _ = lora.parse({"rank": 8, "alpha": 16}, "params")
    assert params is not None
    fitted = fit_params(lora, params, [site()], budget)
    total = sum(count_tensors([declare_at(lora, fitted, [site()])]).values())
    assert total <= budget < total + 14
    assert fitted.model_dump()["alpha"] == 2 * fitted.model_dump()["rank"]


def test_that_an_impossible_budget_says_the_smallest_count() -> None:
    lora = method("lora")
    params, _ = lora.parse({}, "params")
    assert params is not None
    with pytest.raises(ValueError, match="14 parameters"):
        fit_params(lora, params, [site()], 13)


def test_that_bitfit_leaves_sites_without_bias_alone() -> None:
    bitfit = method("bitfit")
    params, _ = bitfit.parse({}, "params")
    assert params is not None
    declared = declare_at(bitfit, params, [site("a"), site("b", bias=True)])
    assert count_tensors([declared]) == {"base.b.bias": 6}


def test_that_tied_tensors_are_counted_once_and_two_placements_apart() -> None:
    full, lora = method("full"), method("lora")
    tied = [site("embed"), site("head", tied_to="embed")]
    params, _ = full.parse({}, "params")
    rank, _ = lora.parse({"rank": 1}, "params")
    assert params is not None
    assert rank is not None
    assert sum(count_tensors([declare_at(full, params, tied)]).values()) == 48
    twice = [declare_at(lora, rank, [site()]), declare_at(lora, rank, [site()])]
    assert sum(count_tensors(twice).values()) == 28


def test_that_wrong_parameters_are_all_named_with_a_remedy() -> None:
    _, problems = method("lora").parse({"rnk": 4, "dropout": 2}, "method.placements.0.params")
    assert {p.where for p in problems} == {"method.placements.0.params.rnk", "method.placements.0.params.dropout"}
    assert any("'rank'" in p.hint for p in problems)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        ("raise RuntimeError('boom')", "boom"),
        ("return [ParamDecl('a', (1,)), ParamDecl('a', (2,))]", "twice"),
        ("return [ParamDecl('w', (1, 2), base='weight')]", "the site has"),
        ("return [ParamDecl('b', (6,), base='bias')]", "without one"),
    ],
)
def test_that_a_lying_plugin_is_named(tmp_path: Path, declare: str, message: str) -> None:
    odd = write_plugin(tmp_path / message.split(maxsplit=1)[0], declare)
    with pytest.raises(PluginError, match=message) as caught:
        declare_at(odd, odd.module.Params(), [site()])
    assert caught.value.plugin == "odd"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id = 3", "id"),
        ("not toml", "not TOML"),
        ('id="x1"\nkind="method"\ntitle="T"\nsummary="S"\nversion="1.0.0"\napi=99', "API 99"),
        ('id="x1"\nkind="method"\ntitle="T"\nsummary="S"\nversion="1.0.0"\napi=1\ncolour="red"', "colour"),
    ],
)
def test_that_a_damaged_manifest_becomes_an_error_entry(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "plugin.toml").write_text(text)
    registry = discover([tmp_path])
    assert registry.plugins == {}
    assert message in str(registry.errors[0])


def test_that_a_misspelt_method_gets_a_suggestion() -> None:
    with pytest.raises(UserError) as caught:
        discover().get("lroa", "method")
    assert "'lora'" in caught.value.hint


def test_that_a_declaration_counts_its_scalars() -> None:
    assert ParamDecl("a", (3, 4, 5)).count == 60


def test_that_a_fit_that_breaks_the_rules_of_its_params_is_told_without_pydantics_words(tmp_path: Path) -> None:
    odd = write_plugin(tmp_path, "return ()")
    text = (odd.plugin.folder / "params.py").read_text()
    text = text.replace("Traits\n", "Traits, ui\n", 1).replace("    pass", "    rank: int = ui(4, lo=2)", 1)
    text += "def fit(params, sites, budget):\n    return params.model_copy(update={'rank': 1})\n"
    (odd.plugin.folder / "params.py").write_text(text)
    other = tmp_path / "again"
    (odd.plugin.folder).rename(other)
    sized = load_method(discover([tmp_path]).get("odd", "method"))
    with pytest.raises(ValueError, match=r"^params\.rank must be greater than or equal to 2, got 1$"):
        sized.fit(sized.module.Params(), [site()], 100)
