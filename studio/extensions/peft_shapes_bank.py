"""peft methods whose sites share a bank of vectors or random bases, or train a spectrum: their tensors at a site."""

import math
from collections.abc import Iterable
from typing import Any

from studio.api import ParamDecl, Site
from studio.extensions.peft_shapes_base import Shapes, Span, fixed, need_at_most, need_divisor, seeded, trained

Decls = Iterable[ParamDecl]
SHARED = "shared"


def _c3a(p: Any, site: Site, _: Span) -> Decls:
    b = p.block_size
    need_divisor(site, "block_size", b, site.d_in, site.d_out)
    yield trained("c3a_kernel", site.d_out // b, site.d_in // b, b)


def _fourierft(p: Any, site: Site, _: Span) -> Decls:
    need_at_most(site, "n_frequency", p.n_frequency, site.d_in * site.d_out)
    yield trained("fourierft_spectrum", p.n_frequency)
    yield seeded("indices", 2, p.n_frequency, dtype="int64")


def _frod(p: Any, site: Site, _: Span) -> Decls:
    m = site.d_in
    entries = min(int(m * m * p.sparse_rate), m * m - m)
    entries = max(entries, 1) if p.sparse_rate > 0 and m > 1 else entries
    name = _category(site)
    yield trained("frod_lambda_l", m)
    yield trained("frod_lambda_s_values", entries)
    yield fixed(f"frod_V.{name}", m, m, share=SHARED)
    yield fixed(f"frod_s_indices.{name}", 2, entries, share=SHARED, dtype="int64")
    yield fixed(f"frod_s_size.{name}", 2, share=SHARED, dtype="int64")
    yield seeded("frod_U", site.d_out, m)


def _category(site: Site) -> str:
    """The kind of projection whose layers FRoD decomposes together, from the last parts of the path."""
    parts = site.path.split(".")
    if len(parts) == 1 or parts[-2].isdigit():
        return parts[-1]
    return "attention_output" if parts[-3:] == ["attention", "output", "dense"] else "_".join(parts[-2:])


def _pvera(p: Any, site: Site, span: Span) -> Decls:
    yield trained("pvera_lambda_b", site.d_out)
    yield trained("pvera_lambda_d", 2 * p.r)
    yield fixed("pvera_A", 2 * p.r, span.d_in, share=SHARED)
    yield fixed("pvera_B", span.d_out, p.r, share=SHARED)


def _vera(p: Any, site: Site, span: Span) -> Decls:
    yield trained("vera_lambda_b", site.d_out)
    yield trained("vera_lambda_d", p.r)
    yield fixed("vera_A", p.r, span.d_in, share=SHARED)
    yield fixed("vera_B", span.d_out, p.r, share=SHARED)


def _randlora(p: Any, site: Site, span: Span) -> Decls:
    short, long = sorted((span.d_in, span.d_out))
    narrow = min(site.d_in, site.d_out)
    bases = math.ceil(narrow / p.r)
    yield trained("randlora_lambda", p.r, bases)
    yield trained("randlora_gamma", bases, narrow)
    yield fixed("randlora_A", p.r, 1, short, share=SHARED)
    yield fixed("randlora_B", long, math.ceil(short / p.r), p.r, share=SHARED)


def _tinylora(p: Any, site: Site, span: Span) -> Decls:
    need_at_most(site, "r", p.r, min(site.d_in, site.d_out))
    count = len(span.sites)
    groups = max(1, round(count * (1 - p.weight_tying)))
    group = min(span.place[site.path] // max(1, count // groups), groups - 1)
    yield trained(f"tinylora_v.{group}", p.u, share=SHARED)
    yield fixed("tinylora_A", p.r, site.d_in)
    yield fixed("tinylora_B", site.d_out, p.r)
    yield fixed("tinylora_P", p.u, p.r, p.r)


def _unilora(p: Any, site: Site, _: Span) -> Decls:
    yield trained("unilora_theta_d", p.theta_d_length, share=SHARED)
    for side, shape in (("A", (p.r, site.d_in)), ("B", (site.d_out, p.r))):
        yield seeded(f"unilora_indices_{side}", *shape, dtype="int64")
        yield seeded(f"unilora_scales_{side}", *shape)


def _vblora(p: Any, site: Site, _: Span) -> Decls:
    length = p.vector_length
    need_divisor(site, "vector_length", length, site.d_in, site.d_out)
    yield trained("vblora_logits_A", p.r, site.d_in // length, p.num_vectors)
    yield trained("vblora_logits_B", site.d_out // length, p.r, p.num_vectors)
    yield trained("vblora_vector_bank", p.num_vectors, length, share=SHARED)


def _waveft(p: Any, site: Site, _: Span) -> Decls:
    need_at_most(site, "n_frequency", p.n_frequency, site.d_in * site.d_out)
    yield trained("waveft_spectrum", p.n_frequency)
    yield seeded("waveft_indices", 2, p.n_frequency, dtype="int64")


BANKS: dict[str, Shapes] = {
    "C3A": _c3a,
    "FOURIERFT": _fourierft,
    "FROD": _frod,
    "PVERA": _pvera,
    "RANDLORA": _randlora,
    "TINYLORA": _tinylora,
    "UNILORA": _unilora,
    "VBLORA": _vblora,
    "VERA": _vera,
    "WAVEFT": _waveft,
}
