"""peft methods that add a product of factors, or chosen entries, to a weight: their tensors at a site."""

import math
from collections.abc import Iterable
from typing import Any

from studio.api import ParamDecl, Site
from studio.core.errors import UserError
from studio.extensions.peft_shapes_base import (
    Shapes,
    Span,
    fixed,
    need_at_most,
    need_divisor,
    seeded,
    trained,
)

Decls = Iterable[ParamDecl]


def _deft(p: Any, site: Site, _: Span) -> Decls:
    yield trained("deft_P", site.d_out, p.r)
    if not p.para:
        yield trained("deft_R", p.r, site.d_in)


def _delora(p: Any, site: Site, _: Span) -> Decls:
    yield trained("delora_A", p.r, site.d_in)
    yield trained("delora_B", site.d_out, p.r)
    yield trained("delora_lambda", 1)
    yield fixed("delora_w_norm", site.d_in)


def _glora(p: Any, site: Site, _: Span) -> Decls:
    m, n = site.d_in, site.d_out
    c, d_e = (p.config_C, p.config_D_E) if site.has_bias else ("none", "none")
    yield from _glora_path("A", p.config_A_B, p.r, (n, m), (n, 1))
    yield from _glora_path("B", p.config_A_B, p.r, (n, m), (n, 1))
    yield from _glora_path("C", c, p.r, (m, 1), (m, 1))
    yield from _glora_path("D", d_e, p.r, (n,), (n,))
    yield from _glora_path("E", d_e, p.r, (n,), (n,))


def _glora_path(name: str, form: str, r: int, full: tuple[int, ...], vector: tuple[int, ...]) -> Decls:
    if form == "lora":
        yield trained(f"glora_{name}.Xd", full[0], r)
        yield trained(f"glora_{name}.Xu", r, full[1])
    elif form == "none":
        yield fixed(f"glora_{name}.zeros", *full)
    else:
        yield trained(f"glora_{name}.X", *(vector if form == "vector" else (1,)))


def _gralora(p: Any, site: Site, _: Span) -> Decls:
    k = p.gralora_k
    need_divisor(site, "gralora_k", k, site.d_in, site.d_out)
    if p.r % k:
        raise UserError(f"rank {p.r} is not a multiple of gralora_k {k}", where=site.path, hint="change one of them")
    yield trained("gralora_A", k, site.d_in // k, p.r)
    yield trained("gralora_B", k, p.r, site.d_out // k)
    if p.hybrid_r:
        yield trained("gralora_A_general.weight", p.hybrid_r, site.d_in)
        yield trained("gralora_B_general.weight", site.d_out, p.hybrid_r)


def _hira(p: Any, site: Site, _: Span) -> Decls:
    yield trained("hira_A", p.r, site.d_in)
    yield trained("hira_B", site.d_out, p.r)


def _loha(p: Any, site: Site, _: Span) -> Decls:
    for pair in ("w1", "w2"):
        yield trained(f"hada_{pair}_a", site.d_out, p.r)
        yield trained(f"hada_{pair}_b", p.r, site.d_in)


def _lokr(p: Any, site: Site, _: Span) -> Decls:
    (c, d), (a, b) = _factors(site.d_in, p.decompose_factor), _factors(site.d_out, p.decompose_factor)
    if p.decompose_both and p.r < max(a, c) / 2:
        yield trained("lokr_w1_a", a, p.r)
        yield trained("lokr_w1_b", p.r, c)
    else:
        yield trained("lokr_w1", a, c)
    if p.r < max(b, d) / 2:
        yield trained("lokr_w2_a", b, p.r)
        yield trained("lokr_w2_b", p.r, d)
    else:
        yield trained("lokr_w2", b, d)


def _factors(width: int, factor: int) -> tuple[int, int]:
    """``width`` as a product, the first factor at most the second: as given, else as near to each other as can be.

    A ``factor`` that does not divide bounds the first from above; -1 bounds nothing.
    """
    if factor > 0 and width % factor == 0:
        return factor, width // factor
    most = min(math.isqrt(width), width if factor == -1 else factor)
    small = max(each for each in range(1, most + 1) if width % each == 0)
    return small, width // small


def _miss(p: Any, site: Site, _: Span) -> Decls:
    need_at_most(site, "r", p.r, site.d_in)
    if p.init_weights == "bat":
        need_divisor(site, "r", p.r, site.d_in, site.d_out)
        yield trained("miss_block", site.d_out // p.r, p.r, p.r)
    elif p.init_weights == "mini":
        need_divisor(site, "mini_r", p.mini_r, site.d_out)
        yield trained("miss_block", p.r, p.mini_r)
    else:
        yield trained("miss_block", p.r, site.d_out)


def _osf(p: Any, site: Site, _: Span) -> Decls:
    m, n = site.d_in, site.d_out
    keep = min(m, n) // 2 if p.effective_rank is None else min(p.effective_rank, m, n)
    low = min(m, n) - keep
    if low < 1:
        raise UserError(f"effective_rank {keep} leaves nothing to train", where=site.path,
                        hint=f"{min(m, n) - 1} at most")  # fmt: skip
    shapes = {"U_low": (n, low), "S_low": (low,), "V_low": (low, m)}
    for name, shape in shapes.items():
        yield trained(f"osf_svd_params.{name}", *shape)
    for name, shape in shapes.items():
        yield seeded(f"_osf_{name}_init", *shape)
    if n > m:
        yield seeded("_osf_U_high", n, keep)
    if n < m:
        yield seeded("_osf_V_high", keep, m)


def _peanut(p: Any, site: Site, _: Span) -> Decls:
    yield trained("peanut_A.weight", p.r, site.d_out)
    yield trained("peanut_B.weight", site.d_out, p.r)
    for i in range(p.depth):
        yield trained(f"peanut_encoders.{i}.weight", p.r, p.r)
        yield trained(f"peanut_decoders.{i}.weight", p.r, p.r)


def _shira(p: Any, site: Site, _: Span) -> Decls:
    need_at_most(site, "r", p.r, site.d_in * site.d_out // (site.d_in + site.d_out))
    entries = p.r * (site.d_in + site.d_out)
    yield trained("shira_weight", entries)
    yield fixed("shira_indices", 2, entries, dtype="int32")


def _supertuning(p: Any, site: Site, _: Span) -> Decls:
    entries = int(site.d_in * site.d_out * (1 - p.sparsity))
    if entries < 1:
        raise UserError(f"sparsity {p.sparsity} leaves nothing to train", where=site.path, hint="lower it")
    yield trained("supertuning_values", entries)
    yield fixed("supertuning_indices", entries, dtype="int32")
    if p.r is not None:
        yield trained("supertuning_lora_A.weight", p.r, site.d_in)
        yield trained("supertuning_lora_B.weight", site.d_out, p.r)


LOW_RANK: dict[str, Shapes] = {
    "DEFT": _deft,
    "DELORA": _delora,
    "GLORA": _glora,
    "GRALORA": _gralora,
    "HIRA": _hira,
    "LOHA": _loha,
    "LOKR": _lokr,
    "MISS": _miss,
    "OSF": _osf,
    "PEANUT": _peanut,
    "SHIRA": _shira,
    "SUPERTUNING": _supertuning,
}
