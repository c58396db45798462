"""The hub token: in the keyring where there is one, else in a file for the owner's eyes only."""

from collections.abc import Iterator

import keyring
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from studio.core.errors import MachineError
from studio.models.tokens import delete_token, get_token, set_token, token_file


class MemoryKeyring(KeyringBackend):
    """Keeps passwords until the test ends."""

    priority = 1.0

    def __init__(self, *, locked: bool = False) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("locked")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.kept:
            raise PasswordDeleteError("none")
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


def test_that_a_keyring_keeps_the_token_and_no_file_is_written() -> None:
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    assert set_token("first") == "keyring"
    assert set_token("second") == "keyring"
    assert get_token() == "second"
    assert not token_file().exists()
    delete_token()
    assert get_token() is None
    assert backend.kept == {}


@pytest.mark.parametrize("backend", [keyring.backends.fail.Keyring, keyring.backends.null.Keyring])
def test_that_without_a_keyring_the_file_is_private(backend: type[KeyringBackend]) -> None:
    keyring.set_keyring(backend())
    assert get_token() is None
    assert set_token("first") == str(token_file())
    set_token("second")
    assert token_file().stat().st_mode & 0o777 == 0o600
    assert get_token() == "second"
    delete_token()
    assert get_token() is None


def test_that_a_locked_keyring_is_explained() -> None:
    keyring.set_keyring(MemoryKeyring(locked=True))
    with pytest.raises(MachineError, match="keyring does not answer"):
        get_token()
