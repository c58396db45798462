"""Placement expressions such as ``role in (q, v) and layer % 2 == 0``: parsed, checked, never executed as Python."""

import ast
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from studio.api import Kind, Site
from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.models.roles import EXPERTS, ORDER

MAX_LENGTH = 2000
ALLOWED = (
    "allowed: role, kind, layer, layers, path; words, numbers and (lists, of, them); "
    "== != < <= > >= in, not in, and, or, not, + - %"
)

Value = str | int | bool | None | tuple["Value", ...]
Type = Literal["word", "number", "list", "truth"]


@dataclass(frozen=True)
class _Place:
    site: Site
    layers: int


@dataclass(frozen=True)
class _Term:
    """A checked part of an expression; ``field`` is the site's property that it is, if it is one."""

    type: Type
    value: Callable[[_Place], Value]
    field: str = ""
    member: Type | None = None  # the type of a list's members
    words: tuple[tuple[str, ast.expr], ...] = ()


_FIELDS: dict[str, _Term] = {
    "role": _Term("word", lambda place: place.site.role, "role"),
    "kind": _Term("word", lambda place: place.site.kind, "kind"),
    "path": _Term("word", lambda place: place.site.path, "path"),
    "layer": _Term("number", lambda place: place.site.layer, "layer"),
    "layers": _Term("number", lambda place: place.layers, "layers"),
}
_ORDERINGS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mod: operator.mod,
}  # fmt: skip
_CONTAINERS = frozenset({"block", "attention", "ffn", "model"})
_ON_REQUEST = frozenset({"head", "pooler", "router", *EXPERTS})


def select(sites: Sequence[Site], where: str) -> tuple[Site, ...]:
    """The sites for which ``where`` holds, in their order.

    Heads, poolers, embeddings, routers, experts, blocks with their attentions and feed-forwards, and the model as a
    whole are selected only when the expression names them (by role, kind or path), so that ``kind == linear`` means
    the linear maps that every token of a block goes through.
    """
    check = _Checker(where, {site.role for site in sites})
    term = check.parse()
    layers = max((site.layer + 1 for site in sites if site.layer is not None), default=0)
    read = [_FIELDS[name].value for name in check.fields]
    known: dict[tuple[Value, ...], bool] = {}  # large models have many sites that are alike in what is read

    def holds(site: Site) -> bool:
        place = _Place(site, layers)
        key = tuple(value(place) for value in read)
        if key not in known:
            known[key] = term.value(place) is True
        return known[key]

    return tuple(site for site in sites if holds(site) and _is_offered(site, check.words))


def check_words(where: str) -> None:
    """UserError if no model could understand ``where``; whether the roles exist only its sites tell."""
    _Checker(where, None).parse()


def _is_offered(site: Site, words: Iterable[str]) -> bool:
    container = site.kind in _CONTAINERS
    if not container and site.kind != "embedding" and site.role not in _ON_REQUEST:
        return True
    names = {site.role} if site.kind == "linear" else {site.role, site.kind}
    return any(w in names or w == site.path or (not container and fnmatchcase(site.path, w)) for w in words)


class _Checker:
    """Turns an expression into a checked term; ``words`` are what it names, ``fields`` the properties it reads."""

    def __init__(self, text: str, roles: Iterable[str] | None) -> None:
        self.text = text
        self.roles = None if roles is None else set(roles)
        self.words: set[str] = set()
        self.fields: set[str] = set()

    def parse(self) -> _Term:
        if len(self.text) > MAX_LENGTH:
            raise self._error(f"is longer than {MAX_LENGTH} characters", None)
        try:
            body = ast.parse(self.text.strip(), mode="eval").body
            term = self._term(body)
        except SyntaxError as error:
            raise self._error(f"cannot be read at column {error.offset or 1}", None) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._error("cannot be read", None) from error
        if term.type != "truth":
            raise self._error("is no condition", body, "compare something, for example: role in (q, v)")
        return term

    def _term(self, node: ast.expr) -> _Term:  # noqa: PLR0911 - one case per form of an expression
        match node:
            case ast.Name(id=name):
                if name not in _FIELDS:
                    return self._word(name, node)
                self.fields.add(name)
                return _FIELDS[name]
            case ast.Constant(value=str(word)):
                return self._word(word, node)
            case ast.Constant(value=value) if type(value) is int:
                number = value
                return _Term("number", lambda _: number)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return self._list([self._term(part) for part in parts], node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._typed(operand, "truth").value
                return _Term("truth", lambda place: inner(place) is not True)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._arithmetic(ast.Sub(), ast.Constant(0), operand, node)
            case ast.BoolOp(op=op, values=values):
                parts_ = [self._typed(value, "truth").value for value in values]
                every = all if isinstance(op, ast.And) else any
                return _Term("truth", lambda place: every(part(place) is True for part in parts_))
            case ast.BinOp(op=op_, left=left, right=right):
                return self._arithmetic(op_, left, right, node)
            case ast.Compare():
                return self._comparison(node)
            case ast.Attribute():
                raise self._error("has a path without quotes", node, f'write it as "{ast.unparse(node)}"')
            case _:
                raise self._error(f"has {ast.unparse(node)!r}, which is not allowed", node)

    def _typed(self, node: ast.expr, type_: Type) -> _Term:
        term = self._term(node)
        if term.type != type_:
            wanted = {"truth": "a condition", "number": "a number"}[type_]
            raise self._error(f"needs {wanted} where it has {ast.unparse(node)!r}", node)
        return term

    def _word(self, word: str, node: ast.expr) -> _Term:
        self.words.add(word)
        return _Term("word", lambda _: word, words=((word, node),))

    def _list(self, terms: list[_Term], node: ast.expr) -> _Term:
        types = {term.type for term in terms}
        if len(types) != 1 or not types <= {"word", "number"}:
            raise self._error("needs a list of words or of numbers", node)
        values = [term.value for term in terms]
        words = tuple(pair for term in terms for pair in term.words)
        if len(words) == len(terms):  # each is a word itself
            every = tuple(word for word, _ in words)
            return _Term("list", lambda _: every, "", types.pop(), words)
        return _Term("list", lambda place: tuple(value(place) for value in values), "", types.pop(), words)

    def _arithmetic(self, op: ast.operator, left: ast.expr, right: ast.expr, node: ast.expr) -> _Term:
        calculate = _ARITHMETIC.get(type(op))
        if calculate is None:
            raise self._error(f"has {ast.unparse(node)!r}, which is not allowed", node)
        if isinstance(op, ast.Mod) and isinstance(right, ast.Constant) and right.value == 0:
            raise self._error("divides by zero", right)
        a, b = self._typed(left, "number").value, self._typed(right, "number").value

        def value(place: _Place) -> Value:
            x, y = a(place), b(place)
            if not isinstance(x, int) or not isinstance(y, int) or (calculate is operator.mod and y == 0):
                return None
            return calculate(x, y)

        return _Term("number", value)

    def _comparison(self, node: ast.Compare) -> _Term:
        operands = [node.left, *node.comparators]
        terms = [self._term(operand) for operand in operands]
        tests = []
        for op, a, b, right in zip(node.ops, terms, terms[1:], node.comparators, strict=False):
            self._check_words(a, b)
            self._check_words(b, a)
            self._check_field(a, b)
            tests.append(self._test(op, a, b, right))
        return _Term("truth", lambda place: all(test(place) for test in tests))

    def _test(self, op: ast.cmpop, a: _Term, b: _Term, node: ast.expr) -> Callable[[_Place], bool]:
        ordering = _ORDERINGS.get(type(op))
        if ordering is not None:
            if a.type != "number" or b.type != "number":
                raise self._error("orders words; only numbers have an order", node)
            return lambda place: _ordered(ordering, a.value(place), b.value(place))
        is_membership = isinstance(op, ast.In | ast.NotIn)
        other = (b.member or b.type) if is_membership else b.type
        if a.type != other or a.type == "list" or not (is_membership or isinstance(op, ast.Eq | ast.NotEq)):
            raise self._error(f"compares a {a.type} with a {other}", node, "use 'in' for lists")
        wanted = isinstance(op, ast.In | ast.Eq)
        return lambda place: _is_in(a.value(place), b.value(place), wanted)

    def _check_words(self, field: _Term, other: _Term) -> None:
        """Words compared with role or kind must be roles or kinds; a misspelt one would silently select nothing."""
        roles = set() if self.roles is None else self.roles | set(ORDER)
        known: set[str] = {"role": roles, "kind": set(get_args(Kind))}.get(field.field, set())
        for word, node in other.words:
            if known and word not in known and not _is_pattern(word):
                offered = (self.roles or set()) if field.field == "role" else known
                raise self._error(f"has the unknown {field.field} {word!r}", node, did_you_mean(word, offered))

    def _check_field(self, a: _Term, b: _Term) -> None:
        """A word must be compared with a property of the site; else it is a misspelt property itself."""
        for word, node in (*a.words, *b.words):
            if not a.field and not b.field:
                raise self._error(f"has the unknown name {word!r}", node, did_you_mean(word, _FIELDS))

    def _error(self, message: str, node: ast.expr | None, hint: str = ALLOWED) -> UserError:
        column = f", column {node.col_offset + 1}" if node is not None else ""
        return UserError(f"the placement {self.text!r} {message}", where=f"where{column}", hint=hint)


def _is_pattern(word: str) -> bool:
    return "*" in word or "?" in word


def _ordered(compare: Callable[[int, int], bool], a: Value, b: Value) -> bool:
    return isinstance(a, int) and isinstance(b, int) and compare(a, b)


def _is_in(a: Value, b: Value, expected: bool) -> bool:
    """Whether a equals b or one of its members, as ``expected``; never true where a site has no such property."""
    members = b if isinstance(b, tuple) else (b,)
    if a is None or None in members:
        return False
    return (a in members or any(_equal(a, member) for member in members)) is expected


def _equal(a: Value, b: Value) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a == b or (_is_pattern(b) and fnmatchcase(a, b)) or (_is_pattern(a) and fnmatchcase(b, a))
    return a == b
