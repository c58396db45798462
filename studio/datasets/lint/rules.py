"""Faults that a row shows on its own, and what mends its text."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from studio.core.paths import resource
from studio.datasets.lint.words import Words

Mend = Callable[[str], str]


@dataclass(frozen=True)
class Rule:
    """``found`` says whether a row has the fault; ``mend`` changes its texts, None: such rows are left out."""

    kind: str
    message: str
    hint: str
    found: Callable[[Words], bool]
    mend: Mend | None = None
    mends: str = "leave these rows out"


_MISREAD = re.compile("[\u00c2-\u00c5][\u0080-\u00bf\u0152\u0160\u017d\u2018-\u2022\u20ac\u2122]|\u00e2\u20ac.")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LOST = "\ufffd"
_BREAK = re.compile(r"<br\s*/?>|</(?:p|div|li)>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:p|div|span|li|ul|ol|b|i|em|strong|a|font|td|tr|table)\b[^<>\n]{0,200}>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|nbsp|apos|#\d{1,6}|#x[0-9a-fA-F]{1,5});")
_LEFTOVER = re.compile(
    r"\{\{\s*\w[\w. ]*\}\}|\{%.{0,80}?%\}|<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|assistant|user)\|>"
    r"|\[/?INST\]|<</?SYS>>|^### (?:Instruction|Input|Response):|\{(?:instruction|input|output|question|answer|text)\}",
    re.MULTILINE,
)
_LEFTOVER_SIGNS = ("{", "<|", "INST]", "SYS>>", "### ")  # without which there is none
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,4}[A-Za-z]{2,24}\b")
# the first character is looked for, and only then what must not stand before it: that scans several times as fast
_PHONE = re.compile(
    r"\+(?<![\w.]\+)\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,11}(?!\w)"
    r"|\((?<![\w.]\()\d{3}\) ?\d{3}-\d{4}(?!\w)"
)
_CARD = re.compile(r"\d(?<![\w-]\d)(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"[A-Z](?<!\w[A-Z])[A-Z]\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_ADDRESS = re.compile(r"\d(?<![\w.]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w.])")
_CARD_DIGITS: Final = range(13, 20)


def is_damaged(words: Words) -> bool:
    """Whether a text was read in the wrong encoding once, or holds control characters."""
    text = words.text
    return bool(_CONTROL.search(text) or (not text.isascii() and (_LOST in text or _MISREAD.search(text))))


def repair_encoding(text: str) -> str:
    """UTF-8 that was read as Windows-1252 as it was meant, without control characters; what is lost stays lost."""
    if _MISREAD.search(text):
        try:
            text = b"".join(_byte_of(char) for char in text).decode()
        except (UnicodeEncodeError, UnicodeDecodeError):  # not all of it was misread
            text = _MISREAD.sub(_repaired, text)
    return _CONTROL.sub("", text)


def _byte_of(char: str) -> bytes:
    return bytes((ord(char),)) if ord(char) < 256 else char.encode("cp1252")


def _repaired(found: re.Match[str]) -> str:
    try:
        return b"".join(_byte_of(char) for char in found[0]).decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return found[0]


def has_markup(words: Words) -> bool:
    """Whether tags or entities of HTML are left in a text."""
    text = words.text
    return bool(("&" in text and _ENTITY.search(text)) or ("<" in text and (_BREAK.search(text) or _TAG.search(text))))


def without_markup(text: str) -> str:
    """Line breaks for those of HTML, its entities as characters, and its other tags gone."""
    text = _TAG.sub("", _BREAK.sub("\n", text))
    return _ENTITY.sub(lambda found: html.unescape(found[0]).replace("\xa0", " "), text)


def has_leftovers(words: Words) -> bool:
    """Whether a text holds what a template should have filled in, or the marks of a chat format."""
    text = words.text
    return any(sign in text for sign in _LEFTOVER_SIGNS) and bool(_LEFTOVER.search(text))


def names_people(words: Words) -> bool:
    """Whether a text holds what tells who or where somebody is."""
    text = words.text
    patterns = [(kind, PRIVATE[kind]) for kind in PRIVATE if kind != "email" or "@" in text]
    return any(_is_private(kind, found[0]) for kind, pattern in patterns for found in pattern.finditer(text))


def without_people(text: str) -> str:
    """Addresses and numbers of people by what they are, such as [email]."""
    for kind, pattern in PRIVATE.items():
        text = pattern.sub(lambda found, kind=kind: f"[{kind}]" if _is_private(kind, found[0]) else found[0], text)  # type: ignore[misc]
    return text


PRIVATE = {"email": _EMAIL, "IBAN": _IBAN, "card number": _CARD, "phone number": _PHONE, "IP address": _ADDRESS}


def _is_private(kind: str, found: str) -> bool:
    """Whether numbers are such as there can be: check digits, where there are any, are right."""
    match kind:
        case "card number":
            return _is_card(found)
        case "IBAN":
            return _is_iban(found)
        case "IP address":
            return all(int(part) < 256 for part in found.split("."))
    return True


def _is_card(found: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1)."""
    digits = [int(char) for char in reversed(found) if char.isdigit()]
    total = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(digits) in _CARD_DIGITS and len(set(digits)) > 1 and total % 10 == 0


def _is_iban(found: str) -> bool:
    """The remainder of 97 (ISO 13616)."""
    plain = found.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def is_offensive(words: Words) -> bool:
    """Whether a text holds a word or phrase of the offline list."""
    phrases, pattern = _offensive()
    text = words.text.lower()
    return any(phrase in text for phrase in phrases) and bool(pattern.search(text))


@lru_cache(maxsize=1)
def _offensive() -> tuple[tuple[str, ...], re.Pattern[str]]:
    """The phrases of the list that no shorter one is part of, and a pattern of them all as whole words."""
    lines = resource("tables/offensive_words.txt").read_text(encoding="utf-8").split("\n")
    listed = [line.strip().lower() for line in lines if line.strip() and not line.startswith("#")]
    least = tuple(phrase for phrase in listed if not any(other in phrase for other in listed if other != phrase))
    return least, re.compile(rf"\b(?:{'|'.join(map(re.escape, listed))})\b")


RULES = (
    Rule(
        "encoding", "damaged characters are left by a wrong encoding", "repair them, or export the file as UTF-8 anew",
        is_damaged, repair_encoding, "repair the characters",
    ),
    Rule(
        "markup", "HTML is left in the text", "the model would learn to write it",
        has_markup, without_markup, "take the HTML out",
    ),
    Rule(
        "leftovers", "placeholders or marks of a chat format are left in the text",
        "map plain columns: the model's own template adds its marks", has_leftovers,
    ),
    Rule(
        "personal", "addresses or numbers of people", "the model could repeat them",
        names_people, without_people, "write what they are instead, such as [email]",
    ),
    Rule(
        "offensive", "words that offend or threaten", "look at them: the list knows words, not what is meant",
        is_offensive,
    ),
)  # fmt: skip
