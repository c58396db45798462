"""Blocks, attentions and feed-forwards: sites without a weight of their own, found from the sites within them."""

from collections.abc import Iterable, Mapping, Sequence

from studio.api import Kind, Site
from studio.models.roles import EXPERTS

_QUERIES = frozenset({"q", "qkv"})
_FFN_FIRST = frozenset({"gate", "up", "gate_up", "fc1", "expert_gate_up"})
_FFN_LAST = frozenset({"down", "fc2", "expert_down"})


def find_containers(sites: Iterable[Site], blocks: Mapping[str, str], hidden: int, *, ffns: bool) -> list[Site]:
    """The containers of every block.

    ``blocks`` names the block of each site that lies in one; ``hidden`` is the width of a block whose sites do not
    tell; ``ffns`` says whether feed-forwards in a module of their own are sites.
    """
    members: dict[str, list[Site]] = {}
    for site in sites:
        if site.path in blocks:
            members.setdefault(blocks[site.path], []).append(site)
    found = []
    for block, inside in members.items():
        sizes = _block_sizes(inside, hidden)
        found.append(_container(block, "block", inside[0].layer, sizes, channel_axis=_channel_axis(inside)))
        found.extend(_attentions(inside))
        found.extend(_ffns(block, inside) if ffns else ())
    return found


def model_container(hidden: int, containers: Iterable[Site]) -> Site:
    """The site of the backbone as a whole, whose output is laid out as that of its blocks."""
    axis = next((site.channel_axis for site in containers if site.kind == "block"), -1)
    return _container("", "model", None, (hidden, hidden), channel_axis=axis)


def _container(
    path: str, kind: Kind, layer: int | None, sizes: tuple[int, int], d_kv: int = 0, channel_axis: int = -1
) -> Site:
    return Site(path, kind, str(kind), layer, *sizes, (), False, d_kv=d_kv, channel_axis=channel_axis)


def _channel_axis(members: Sequence[Site]) -> int:
    """Convolutional blocks hand on feature maps, channels first; those with attention hand on sequences."""
    convolves = any(site.kind == "conv" for site in members)
    return 1 if convolves and not any(site.role in _QUERIES for site in members) else -1


def _block_sizes(members: Sequence[Site], hidden: int) -> tuple[int, int]:
    """A block's widths; convolutional blocks list the shortcut, if they have one, after the convolutions it skips."""
    query = next((site for site in members if site.role in _QUERIES), None)
    if query:
        return query.d_in, query.d_in
    convolutions = sorted((site for site in members if site.kind == "conv"), key=lambda site: site.path)
    return (convolutions[0].d_in, convolutions[-1].d_out) if convolutions else (hidden, hidden)


def _attentions(members: Sequence[Site]) -> list[Site]:
    found = []
    for query in members:
        if query.role in _QUERIES:
            path = _parent(query)
            beside = {site.role: site for site in members if _parent(site) == path}
            sizes = (query.d_in, query.d_in)
            found.append(_container(path, "attention", query.layer, sizes, _key_width(query, beside)))
    return found


def _key_width(query: Site, beside: Mapping[str, Site]) -> int:
    """Key-value heads x head size; a joint projection makes queries (as wide as the output map reads), keys, values."""
    if query.role == "q":
        return beside["k"].d_out if "k" in beside else query.d_out
    queries = beside["o"].d_in if "o" in beside else query.d_in
    return (query.d_out - queries) // 2


def _ffns(block: str, members: Sequence[Site]) -> list[Site]:
    """Modules that hold a feed-forward from its first to its last map; the outermost where they are nested."""
    first = {_ffn_path(site): site for site in members if site.role in _FFN_FIRST}
    last = {_ffn_path(site): site for site in members if site.role in _FFN_LAST}
    paths = [path for path in first if path in last and path != block]
    outermost = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    return [_container(path, "ffn", first[path].layer, (first[path].d_in, last[path].d_out)) for path in outermost]


def _ffn_path(site: Site) -> str:
    """The module that the feed-forward of ``site`` would be; experts lie one deeper, beside their router."""
    parent = _parent(site)
    return parent.rpartition(".")[0] if site.role in EXPERTS else parent


def _parent(site: Site) -> str:
    return site.path.rpartition(".")[0]
