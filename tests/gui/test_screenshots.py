"""The stored pictures show the window as it is: drawn anew, they hardly differ."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from tests.gui.gallery import GalleryBackend
from tests.gui.screenshots import SCENES, STORED, colors_of, pictures

LIMIT_BYTES = 120 * 1024
BLOCK = 8  # pixels, so that the edges of letters do not count
LIMIT = 0.8  # mean difference in levels of grey; drawing twice gives below 0.1, a card more or less above 2
HINT = "look at the window, then draw them anew: python tests/gui/screenshots.py"


def test_that_the_stored_pictures_show_the_window_as_it_is(window_app: QApplication) -> None:
    differences = {stem: difference(picture, STORED / f"{stem}.png") for stem, picture in pictures()}
    stale = {stem: round(value, 2) for stem, value in differences.items() if value > LIMIT}
    assert len(differences) == 2 * len(SCENES)
    assert not stale, f"stale pictures: {stale}; {HINT}"


def test_that_the_stored_pictures_are_small_and_all_in_use() -> None:
    names = {f"{scene.name}-{theme}.png" for scene in SCENES for theme in ("light", "dark")}
    assert {path.name for path in STORED.iterdir()} == names
    assert [path.name for path in STORED.iterdir() if path.stat().st_size > LIMIT_BYTES] == []


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("new-run-fits", "fits"), ("new-run-close", "close"), ("new-run-does-not-fit", "does not fit")],
)
def test_that_the_pictures_of_new_run_show_the_verdict_they_are_named_for(name: str, verdict: str) -> None:
    spec = next(scene.argument["spec"] for scene in SCENES if scene.name == name)
    estimate = GalleryBackend().check(spec).estimate
    assert estimate is not None
    assert estimate.verdict == verdict


def difference(picture: QImage, stored: Path) -> float:
    """The mean difference of the blocks in levels of grey; 255 where there is no picture of this size."""
    if not stored.exists():
        return 255.0
    with Image.open(stored) as image:
        if picture.size() != QSize(*image.size):
            return 255.0
        before = np.asarray(image.convert("RGB"))
    return float(np.abs(blocks(before) - blocks(colors_of(picture))).mean())


def blocks(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = colors.mean(axis=2)
    height, width = (size // BLOCK * BLOCK for size in grey.shape)
    means: NDArray[np.float64] = (
        grey[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3))
    )
    return means
