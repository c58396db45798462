"""Closed-form shapes of every tensor that a bridged peft method has at a site."""

from collections.abc import Iterable
from typing import Any

from studio.api import ParamDecl, Site
from studio.core.errors import UserError
from studio.extensions.peft_shapes_bank import BANKS
from studio.extensions.peft_shapes_base import Shapes, Span, need_at_most, need_divisor, seeded, trained
from studio.extensions.peft_shapes_lowrank import LOW_RANK

Decls = Iterable[ParamDecl]
FEEDFORWARD = frozenset({"down", "fc2"})  # (IA)3 scales what goes into these, and what comes out of the others


def _beft(p: Any, site: Site, _: Span) -> Decls:
    yield trained("beft_bias", 1, site.d_out)


def _boft(p: Any, site: Site, _: Span) -> Decls:
    m, b = site.d_in, p.boft_block_size
    need_divisor(site, "boft_block_size", b, m)
    yield trained("boft_R", 1, m // b, b, b)
    yield trained("boft_s", site.d_out, 1)
    yield seeded("boft_P", 1, m, m)


def _hra(p: Any, site: Site, _: Span) -> Decls:
    yield trained("hra_u", site.d_in, p.r)


def _ia3(p: Any, site: Site, _: Span) -> Decls:
    yield trained("ia3_l", *((1, site.d_in) if site.role in FEEDFORWARD else (site.d_out, 1)))


def _oft(p: Any, site: Site, _: Span) -> Decls:
    m, b = site.d_in, p.oft_block_size
    need_divisor(site, "oft_block_size", b, m)
    entries = b * (b - 1) // 2
    yield trained("oft_R.weight", 1 if p.block_share else m // b, entries)
    yield seeded("oft_R.rows", entries, dtype="int64")
    yield seeded("oft_R.cols", entries, dtype="int64")


def _psoft(p: Any, site: Site, _: Span) -> Decls:
    r = p.r
    need_at_most(site, "r", r, min(site.d_in, site.d_out))
    entries = r * (r - 1) // 2
    yield trained("psoft_R.weight", *((entries,) if p.psoft_orth else (r, r)))
    if p.psoft_mag_b:
        yield trained("psoft_R.vector_b", r)
    if p.psoft_mag_a:
        yield trained("psoft_R.vector_a", r)
    if p.psoft_orth:
        yield seeded("psoft_R.rows", entries, dtype="int64")
        yield seeded("psoft_R.cols", entries, dtype="int64")
    yield seeded("_psoft_A_cache", r, site.d_in)
    yield seeded("_psoft_B_cache", site.d_out, r)


def _road(p: Any, site: Site, _: Span) -> Decls:
    need_divisor(site, "group_size", p.group_size, site.d_out)
    size = {"road_1": site.d_out // 2, "road_2": site.d_out, "road_4": site.d_out * 2}[p.variant]
    yield trained("road_theta", size)
    yield trained("road_alpha", size)


def _trainable_tokens(p: Any, site: Site, _: Span) -> Decls:
    rows = len(p.token_indices)
    if any(index >= site.d_in for index in p.token_indices):
        raise UserError(f"token_indices has ids above the vocabulary of {site.d_in:,}", where=site.path)
    yield trained("trainable_tokens_delta", rows, site.d_out)
    yield seeded("trainable_tokens_original", rows, site.d_out)


SHAPES: dict[str, Shapes] = {
    **LOW_RANK,
    **BANKS,
    "BEFT": _beft,
    "BOFT": _boft,
    "HRA": _hra,
    "IA3": _ia3,
    "OFT": _oft,
    "PSOFT": _psoft,
    "ROAD": _road,
    "TRAINABLE_TOKENS": _trainable_tokens,
}
