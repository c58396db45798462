"""A spec is read whole: every problem at once, each with its path and a remedy."""

from typing import Any

import pytest

from studio.core.spec import RunSpec, parse_spec


def valid() -> dict[str, Any]:
    return {
        "model": {"source": "library:tiny"},
        "data": {"source": "library:rows"},
        "method": {"placements": [{"use": "lora"}]},
    }


def test_that_a_minimal_spec_gets_its_defaults() -> None:
    parsed = parse_spec(valid())
    assert parsed.problems == ()
    assert parsed.spec is not None
    assert parsed.spec.train.micro_batch == "auto"
    assert parsed.spec.data.split.eval == 200


def test_that_five_mistakes_are_reported_together_each_at_its_path() -> None:
    raw = valid()
    raw["taks"] = "sft"
    raw["model"]["source"] = "smollm"
    raw["data"]["max_length"] = 1
    raw["train"] = {"learning_rat": 1e-4, "precision": "bf61"}
    parsed = parse_spec(raw)
    places = {problem.where: problem for problem in parsed.problems}
    assert set(places) == {"taks", "model.source", "data.max_length", "train.learning_rat", "train.precision"}
    assert "'task'" in places["taks"].hint
    assert "'learning_rate'" in places["train.learning_rat"].hint
    assert "'bf16'" in places["train.precision"].hint
    assert all(problem.hint for problem in parsed.problems)


def test_that_the_sound_part_of_a_wrong_spec_stays_readable() -> None:
    raw = valid()
    raw["train"] = {"epochs": -1, "seed": 7}
    parsed = parse_spec(raw)
    assert [problem.where for problem in parsed.problems] == ["train.epochs"]
    assert parsed.spec is not None
    assert parsed.spec.train.seed == 7


def test_that_parts_are_readable_when_a_required_part_is_missing() -> None:
    raw = valid()
    del raw["model"]
    parsed = parse_spec(raw)
    assert parsed.spec is None
    assert [problem.where for problem in parsed.problems] == ["model"]
    from studio.core.spec import DataRef

    data = parsed.part("data", DataRef)
    assert data is not None
    assert data.source == "library:rows"


@pytest.mark.parametrize("raw", [None, 3, "text", [1], []])
def test_that_what_is_no_mapping_is_a_problem_not_an_exception(raw: object) -> None:
    parsed = parse_spec(raw)
    assert parsed.spec is None
    assert parsed.problems


@pytest.mark.parametrize("value", [0, -3, "many", 1.5])
def test_that_a_micro_batch_is_auto_or_a_positive_count(value: object) -> None:
    raw = valid()
    raw["train"] = {"micro_batch": value}
    assert [problem.where for problem in parse_spec(raw).problems] == ["train.micro_batch"]


def test_that_a_spec_survives_its_own_json() -> None:
    spec = RunSpec.model_validate(valid())
    assert parse_spec(spec.model_dump(mode="json")).spec == spec


@pytest.mark.parametrize(
    ("part", "written", "where", "words"),
    [
        (
            "model",
            "path:tiny",
            "model",
            "must be keys with their values, `key: value`, got 'path:tiny' (its keys: source;",
        ),
        ("method", {"placements": [{}]}, "method.placements.0.use", "is missing"),
        ("method", {"placements": ["lora"]}, "method.placements.0", "its keys: use, where, params, gate"),
        ("method", {"placements": []}, "method.placements", "must list at least one"),
        ("method", {"placements": {"use": "lora"}}, "method.placements", "must be a list"),
        ("train", {"epochs": "many"}, "train.epochs", "must be a number, got 'many'"),
        ("train", {"zzz": 1}, "train.zzz", "seed, warmup, weight_decay"),
    ],
)
def test_that_a_wrong_shape_is_one_problem_in_plain_words(part: str, written: Any, where: str, words: str) -> None:
    problems = parse_spec({**valid(), part: written}).problems
    assert [problem.where for problem in problems] == [where]
    assert words in str(problems[0])
