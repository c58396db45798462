"""How CUDA_VISIBLE_DEVICES numbers GPUs."""

import pytest

from studio.devices.visible import visible_gpus

UUIDS = ["GPU-aa1", "GPU-bb2", "GPU-cc3"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, UUIDS),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", ["GPU-cc3", "GPU-aa1"]),
        ("0, 1", ["GPU-aa1", "GPU-bb2"]),
        ("0,9,1", ["GPU-aa1"]),
        ("GPU-b", ["GPU-bb2"]),
        ("1,1", ["GPU-bb2"]),
        ("MIG-123", ["MIG-123"]),
    ],
)
def test_that_the_setting_is_read_as_the_cuda_runtime_reads_it(setting: str | None, expected: list[str]) -> None:
    assert visible_gpus(UUIDS, setting) == expected
