"""What the kit says of a broken plugin: once, in one line, with the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.conformance.kit import Result, check_method
from studio.core.errors import PluginError
from studio.extensions.loader import load_method
from tests.plugins.test_seeded_faults import make_plugin

Check = Callable[..., list[Result]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """The failures of the sound plugin with one text of a file replaced, on one family or some."""

    def check_changed(
        file: str, old: str, new: str, *checks: str, families: tuple[str, ...] = ("llama",)
    ) -> list[Result]:
        plugin = make_plugin(tmp_path, "words", None)
        path = plugin.folder / f"{file}.py"
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
        return check_method(load_method(plugin), families, *[checks] if checks else []).failures

    return check_changed


def test_that_a_start_that_is_no_number_is_one_failure(check: Check) -> None:
    failures = check("method", "return y + change", "return y + change / 0")
    assert [(f.check, f.detail) for f in failures] == [("start", "its answers are not finite numbers from the start")]


def test_that_a_method_that_cannot_run_fails_once_on_each_family(check: Check) -> None:
    failures = check("method", "import torch\n", "from params import Params\n", families=("llama", "t5"))
    assert [f.family for f in failures] == ["llama", "t5"]
    assert "(inside the plugin it is studio_plugins.words.params)" in failures[0].detail


def test_that_what_rounding_does_to_a_start_is_allowed(check: Check) -> None:
    assert check("method", "return y + change", "return y + 9 + change - 9", "start", families=("t5",)) == []


def test_that_a_start_away_from_the_base_names_what_is_allowed_and_the_trait(check: Check) -> None:
    drawn = '(site.d_out, params.rank), init="normal:0.1")'
    (failure,) = check("params", "(site.d_out, params.rank))", drawn, "start", families=("t5",))
    assert "is allowed; if it is meant to, say identity_at_init=False in Traits" in failure.detail


@pytest.mark.parametrize(
    ("old", "new", "name", "words"),
    [
        ("def merge(", "def merged(", "merge", "the traits say mergeable=True, but method.py has no merge"),
        ('weight + tensors["B"]', 'weight + 2 * tensors["B"]', "merge", "forward and merge disagree by "),
        ("return y + change", "y += change\n    return y", "learning", "forward changes y in place"),
        ('tensors["B"].to(x.dtype)', 'tensors["B"]', "precision", 'uses them: tensors["A"].to('),
        ("def merge(", 'def setup(params, places, ctx):\n    places[0].tensors["A"] = None\n\ndef merge(', "start",
         "write into the tensor: tensors['A'].copy_(...)"),
    ],
)  # fmt: skip
def test_that_the_remedy_is_said(check: Check, old: str, new: str, name: str, words: str) -> None:
    (failure,) = check("method", old, new, name)
    assert failure.check == name
    assert words in failure.detail
    assert "\n" not in failure.detail


def test_that_an_unknown_start_names_the_plugin_the_tensor_and_the_starts(check: Check) -> None:
    (failure,) = check("params", 'init="kaiming"', 'init="normal(0,1)"')
    assert "plugin 'words'" in failure.detail
    assert (
        "tensor 'A' of shape (4, 32) cannot start as 'normal(0,1)' (one of zeros, ones, constant:VALUE"
        in failure.detail
    )


def test_that_an_unknown_trait_is_answered_with_the_closest_and_all(check: Check) -> None:
    with pytest.raises(PluginError, match=r"did you mean 'mergeable'.* Traits takes kinds, where, mergeable"):
        check("params", "mergeable=True", "mergable=True")


def test_that_a_method_for_which_a_family_has_rows_of_one_length_says_so(tmp_path: Path) -> None:
    report = check_method(load_method(make_plugin(tmp_path, "lengths", None)), ["t5"], ["sequences"])
    assert report.results[0].detail == "the kit gives this family rows of one length"
