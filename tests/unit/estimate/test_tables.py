"""The tables of devices and electricity grids."""

import json

import pytest

from studio.core.errors import UserError
from studio.core.paths import resource
from studio.estimate import grid_g_per_kwh, grid_source, list_grids
from studio.estimate.tables import find_gpu


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70), ("NVIDIA A10", 125), ("Tesla T4", 65), ("NVIDIA GeForce RTX 3080 Ti", 68.2),
        ("NVIDIA GeForce RTX 3080", 59.5), ("NVIDIA RTX 6000 Ada Generation", 364.2), ("Tesla V100-SXM2-16GB", 125),
    ],
)  # fmt: skip
def test_that_a_gpu_is_found_by_the_longest_name_it_contains(name: str, tflops: float) -> None:
    facts = find_gpu(name)
    assert facts is not None
    assert facts.half_flops == tflops * 1e12


@pytest.mark.parametrize("name", ["NVIDIA A1000", "Quadro K2000", "NVIDIA Graphics Device", ""])
def test_that_a_gpu_with_a_longer_number_is_not_mistaken(name: str) -> None:
    assert find_gpu(name) is None


def test_that_every_gpu_has_plausible_facts_and_its_own_name() -> None:
    rows = json.loads(resource("tables/devices.json").read_text(encoding="utf-8"))["gpus"]
    assert len({row["match"] for row in rows}) == len(rows)
    for row in rows:
        assert row["half_tflops"] >= row["fp32_tflops"] > 0
        assert 100 < row["gigabytes_per_s"] < 10_000
        assert 0 < row["idle_w"] < 200


def test_that_a_grid_is_found_by_code_name_or_figure() -> None:
    assert grid_g_per_kwh("FRA") == grid_g_per_kwh("france") == 56
    assert (grid_g_per_kwh(123.4), grid_g_per_kwh(None)) == (123.4, None)


def test_that_an_unknown_grid_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean 'Germany'"):
        grid_g_per_kwh("Germny")


def test_that_grids_carry_their_year_and_source() -> None:
    grids = list_grids()
    assert [grid.code for grid in grids[:2]] == ["WORLD", "EU"]
    assert all(10 < grid.g_per_kwh < 1000 and 2020 < grid.year < 2030 for grid in grids)
    assert "Ember" in grid_source()


def test_that_the_table_of_measurements_is_a_list() -> None:
    assert isinstance(json.loads(resource("tables/measured.json").read_text(encoding="utf-8"))["measurements"], list)
