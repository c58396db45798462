"""The hub token: in the operating system's keyring, else in a file that only its owner can read."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import MachineError
from studio.core.paths import home

_SERVICE, _USER = "pet-studio", "hub-token"


def get_token() -> str | None:
    """The saved hub token, if there is one."""
    if (token := _from_keyring()) is not None:
        return token
    file = token_file()
    return file.read_text("utf-8").strip() or None if file.is_file() else None


def set_token(token: str) -> str:
    """Save ``token`` and say where it is now: "keyring" or the path of the file."""
    delete_token()
    if _into_keyring(token):
        return "keyring"
    file = token_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    # created with its final mode: at no moment can another user read it
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(token)
    return str(file)


def delete_token() -> None:
    """Forget the saved token wherever it is."""
    import keyring

    if _from_keyring() is not None:
        with _explained():
            keyring.delete_password(_SERVICE, _USER)
    token_file().unlink(missing_ok=True)


def token_file() -> Path:
    """Where the token is kept on a machine without a keyring."""
    return home().root / "hub-token"


def _from_keyring() -> str | None:
    import keyring

    with _explained(), contextlib.suppress(_no_keyring()):
        return keyring.get_password(_SERVICE, _USER)
    return None


def _into_keyring(token: str) -> bool:
    """Whether the keyring keeps the token now; some machines have none, or one that forgets everything."""
    import keyring

    with _explained(), contextlib.suppress(_no_keyring()):
        keyring.set_password(_SERVICE, _USER, token)
        return keyring.get_password(_SERVICE, _USER) == token
    return False


def _no_keyring() -> type[Exception]:
    from keyring.errors import NoKeyringError

    return NoKeyringError


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    from keyring.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise MachineError(
            f"the system's keyring does not answer: {error or type(error).__name__}",
            hint="unlock the keyring and try again",
        ) from error
