"""The checks of a method on one family, in the order of the report: each passes, fails with a sentence or does not
apply. Those of the plugin itself, whatever the model, are in ``sources``."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.api import Site
from studio.conformance.bench import (
    ROWS,
    SEED,
    Bench,
    CheckFailedError,
    NotApplicableError,
    Trainer,
    apart,
    changed_in_place,
    load,
    over_bf16,
    require,
    save,
)
from studio.core.errors import StudioError
from studio.engine.attach import Attached
from studio.engine.flow import bare
from studio.engine.hooks import to_map
from studio.engine.merge import merge_into_base, merge_problems
from studio.extensions.declaring import count_tensors, declare_at, named_tensors
from studio.extensions.isolated import forget, isolate

EXACT, CLOSE, MERGED, BF16 = 1e-6, 2e-5, 3e-5, 3e-2
Check = Callable[[Bench, Path], None]


def check_count(bench: Bench, folder: Path) -> None:
    """1: declared without torch = allocated = trained = in the file; declaring again gives the same."""
    attached = bench.attach()
    declared = count_tensors([bench.declared])
    require(declared == count_tensors([bench.declared]), "two declarations in a row differ")
    outside = _counted_outside(bench)
    if outside is not None:
        counts = f"{sum(outside.values()):,} in a process without torch, {sum(declared.values()):,} here"
        require(outside == declared, f"declares {counts}")
    require(attached.trainable == sum(declared.values()),
            f"declares {sum(declared.values()):,}, trains {attached.trainable:,}")  # fmt: skip
    save(attached, folder / "a.safetensors", state=False)
    saved = load_file(folder / "a.safetensors")
    in_file = sum(tensor.numel() for name, tensor in saved.items() if name in declared)
    require(in_file == sum(declared.values()), f"declares {sum(declared.values()):,}, saves {in_file:,}")
    own = named_tensors([bench.declared])
    fixed = {name for name, decl in own.items() if decl.role == "fixed"}
    require(saved.keys() == declared.keys() | fixed, "the file has tensors that nobody declared")


_asked: set[Path] = set()  # plugins that have been asked outside; once each, for it takes a process


def _counted_outside(bench: Bench) -> dict[str, int] | None:
    """What the plugin declares in a process of its own, where torch is not loaded: as the window asks it."""
    if bench.method.plugin.origin == "peft" or bench.method.plugin.folder in _asked:
        return None
    _asked.add(bench.method.plugin.folder)
    try:
        return count_tensors([declare_at(isolate(bench.method.plugin), bench.params, bench.sites)])
    finally:
        forget(bench.method.id)


def check_start(bench: Bench, folder: Path) -> None:
    """2: the model starts as the base where the traits say so."""
    attached = bench.attach()
    base = bench.specimen.logits(bench.specimen.model(), ROWS)
    difference, allowed = apart(bench.logits(attached), base), CLOSE * max(1.0, float(base.abs().max()))
    if bench.method.traits.identity_at_init:
        require(difference <= allowed, f"starts {difference:.1e} away from the base, {allowed:.1e} is allowed; "
                "if it is meant to, say identity_at_init=False in Traits")  # fmt: skip


def check_learning(bench: Bench, folder: Path) -> None:
    """3: every trained tensor gets finite gradients and moves, nothing else does, in place or not, the loss falls."""
    attached = bench.attach()
    changed = changed_in_place(bench, attached)
    names = " and ".join(sorted(changed))
    require(not changed, f"forward changes {names} in place; make a new tensor: y + change, not y += change")
    before = {name: tensor.detach().clone() for name, tensor in attached.tensors.items()}
    trained = {id(tensor) for tensor in attached.tensors.values()}
    frozen = {name: (p, p.detach().clone()) for name, p in attached.model.named_parameters() if id(p) not in trained}
    averages = {name: (b, b.clone()) for name, b in attached.model.named_buffers()}
    trainer = Trainer(bench, attached, rate=_brisk(bench))
    losses = bench.train(attached, trainer, steps=10)
    require(all(torch.isfinite(t).all() for t in attached.tensors.values()), "a trained tensor is not finite")
    still = [name for name, t in attached.tensors.items() if torch.equal(t, before[name]) and not _unreached(name)]
    still = [name for name in still if name not in trainer.reached]  # pruned back to where they started
    require(not still, f"never move: {', '.join(still[:4])}")
    moved = [name for name, (now, then) in {**frozen, **averages}.items() if not torch.equal(now, then)]
    require(not moved, f"the base changes though nothing declares it: {', '.join(moved[:4])}")
    if not bench.method.traits.trains_base:
        base = [name for name in attached.tensors if name.startswith("base.")]
        require(not base, f"trains base tensors though trains_base is False: {', '.join(base[:3])}")
    require(min(losses[1:]) < losses[0], f"the loss does not fall in ten steps: {losses[0]:.4f} to {losses[-1]:.4f}")


def check_files(bench: Bench, folder: Path) -> None:
    """4: saved and loaded into a fresh model it answers bit for bit; a damaged or foreign file is refused."""
    attached = bench.attach()
    bench.train(attached)
    path = folder / "b.safetensors"
    save(attached, path, state=False)
    fresh = bench.attach(setup=False)
    load(fresh, path, state=False)
    difference = apart(bench.logits(fresh), bench.logits(attached))
    require(difference == 0, f"answers {difference:.1e} differently after saving and loading")
    tensors = load_file(path)
    tensors.pop(next(iter(tensors)))
    save_file({"stranger": torch.zeros(1), **tensors}, path)
    try:
        load(bench.attach(setup=False), path, state=False)
    except CheckFailedError:
        return
    raise CheckFailedError("a file with a missing tensor is accepted")


def check_merge(bench: Bench, folder: Path) -> None:
    """5: the merged model answers as the tuned one, in fp32 and in bf16; what is not finite is refused."""
    if not bench.method.traits.mergeable:
        raise NotApplicableError("cannot be merged")
    math = bench.method.math()
    require(math is None or hasattr(math, "merge"), "the traits say mergeable=True, but method.py has no merge")
    attached = bench.attach()
    if problems := merge_problems(attached):
        if "shares its weight" in problems[0]:
            raise NotApplicableError(problems[0])
        if bench.method.plugin.origin == "peft":
            raise NotApplicableError(problems[0])
        raise CheckFailedError(problems[0])
    bench.train(attached)
    tuned = bench.logits(attached)
    scale = max(1.0, float(tuned.abs().max()))
    merge_into_base(attached)
    difference = apart(bench.logits(attached), tuned)
    both = hasattr(math, "forward")
    by = f"{difference:.1e}"
    words = f"forward and merge disagree by {by}" if both else f"answers {by} differently once merged"
    require(difference <= MERGED * scale, words)
    with over_bf16():
        _merges_in_bf16(bench, folder, scale)
    _refuses_nan(bench)


def _merges_in_bf16(bench: Bench, folder: Path, scale: float) -> None:
    """Rounding the merged weights once may cost about as much as computing in bf16 does, not more."""
    half, exact = bench.attach(dtype=torch.bfloat16), bench.attach(setup=False)
    bench.train(half)
    save(half, folder / "half.safetensors", state=False)
    load(exact, folder / "half.safetensors", state=False)
    truth, tuned = bench.logits(exact), bench.logits(half)
    merge_into_base(half)
    merged = bench.logits(half)
    allowed = 3 * apart(tuned, truth) + BF16 * scale
    difference = apart(merged, truth)
    require(difference <= allowed, f"merged in bf16 it is {difference:.1e} off, unmerged {apart(tuned, truth):.1e}")


def _refuses_nan(bench: Bench) -> None:
    broken = bench.attach()
    name, tensor = next(iter(broken.tensors.items()))
    with torch.no_grad():
        tensor.view(-1)[0] = torch.nan
    try:
        merge_into_base(broken)
    except StudioError:
        return
    raise CheckFailedError(f"a tensor that is not a number ({name}) is merged into the base")


def check_switch(bench: Bench, folder: Path) -> None:
    """6: switched off, the model is the base bit for bit, also after training."""
    if bench.method.traits.trains_base:
        raise NotApplicableError("it trains the base itself")
    attached = bench.attach()
    bench.train(attached)
    with bare(attached.model):
        off = bench.logits(attached)
    base = bench.specimen.logits(bench.specimen.model(), ROWS)
    require(torch.equal(off, base), f"switched off, it is {apart(off, base):.1e} away from the base")


def check_own_gradients(bench: Bench, folder: Path) -> None:
    """7: hand-written gradients agree with differences in fp64."""
    source = _method_source(bench)
    if "autograd.Function" not in source and "(Function)" not in source:
        raise NotApplicableError("it has no gradient of its own")
    attached = bench.attach()
    bench.train(attached)
    attached.model.double()
    for tensor in attached.tensors.values():
        tensor.data = tensor.data.double()
    noise = 2e-4 * bench.specimen.loss(attached.model, ROWS).item()  # of a difference, where steps are in fp32
    for name, gradient in bench.gradients(attached).items():
        expected = float(gradient.norm())
        direction = gradient / max(expected, 1e-12)
        slopes = [_slope(bench, attached, attached.tensors[name], direction, width) for width in (1e-3, 1e-5)]
        measured = min(slopes, key=lambda slope: abs(slope - expected))  # narrow ones miss kinks, wide ones rounding
        require(abs(measured - expected) <= noise + 1e-2 * expected,
                f"the gradient of {name} has length {expected:.2e}, differences along it {measured:.2e}")  # fmt: skip


def _slope(bench: Bench, attached: Attached, tensor: Tensor, direction: Tensor, width: float) -> float:
    """The derivative of the loss along a direction, from both sides."""
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            tensor.add_(direction, alpha=sign * width)
            values.append(bench.specimen.loss(attached.model, ROWS).item())
            tensor.sub_(direction, alpha=sign * width)
    return (values[0] - values[1]) / (2 * width)


def check_recomputing(bench: Bench, folder: Path) -> None:
    """8: recomputing activations changes no gradient."""
    attached = bench.attach()
    if not getattr(attached.model, "supports_gradient_checkpointing", False):
        raise NotApplicableError("the architecture cannot recompute")
    bench.train(attached)
    kept = _training_gradients(bench, attached)
    attached.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]
    attached.model.disable_input_require_grads()  # type: ignore[operator]
    _same_gradients(_training_gradients(bench, attached), kept, "recomputing activations")


def check_sequences(bench: Bench, folder: Path) -> None:
    """9: padding and neighbours change no answer: padded = unpadded, packed = each alone."""
    if not bench.specimen.text:
        raise NotApplicableError("images have no padding" if bench.specimen.kind == "vision" else
                                 "the kit gives this family rows of one length")  # fmt: skip
    attached = bench.attach()
    bench.train(attached)
    alone = torch.cat([bench.logits(attached, [row]) for row in ROWS])
    together = bench.logits(attached)
    require(apart(together, alone) <= CLOSE, f"rows of a batch change each other by {apart(together, alone):.1e}")
    padded = bench.logits(attached, padding=5)
    require(apart(padded, alone) <= CLOSE, f"padding changes answers by {apart(padded, alone):.1e}")
    if bench.specimen.packable and bench.method.traits.packs:
        packed = bench.logits(attached, packed=True)
        require(apart(packed, alone) <= CLOSE, f"packed rows change each other by {apart(packed, alone):.1e}")


def check_accumulation(bench: Bench, folder: Path) -> None:
    """10: two halves of a batch add up to the whole."""
    attached = bench.attach()
    bench.train(attached)
    whole = bench.gradients(attached)
    halves = [bench.gradients(attached, ROWS[:2]), bench.gradients(attached, ROWS[2:])]
    total = {name: sum((half[name] for half in halves if name in half), torch.zeros(())) for name in whole}
    _same_gradients(total, whole, "splitting the batch")


def check_repeatability(bench: Bench, folder: Path) -> None:
    """11: the seed decides everything, and a resumed run is the uninterrupted one bit for bit."""
    first, again = bench.attach(), bench.attach()
    require(bench.train(first, steps=4) == bench.train(again, steps=4), "two runs with one seed differ")
    attached = bench.attach()
    trainer = Trainer(bench, attached)
    bench.train(attached, trainer, steps=3)
    save(attached, folder / "c.safetensors", state=True)
    torch.save(trainer.state(), folder / "c.pt")
    going_on = bench.train(attached, trainer, steps=4)
    resumed = bench.attach(setup=False)
    load(resumed, folder / "c.safetensors", state=True)
    after = Trainer(bench, resumed)
    after.restore(torch.load(folder / "c.pt", weights_only=True))
    require(bench.train(resumed, after, steps=4) == going_on, "a resumed run differs: something is remembered outside "
            "the declared tensors")  # fmt: skip


def check_precision(bench: Bench, folder: Path) -> None:
    """12: over a bf16 base it trains to finite numbers near those of fp32, its own tensors staying fp32."""
    attached = bench.attach(dtype=torch.bfloat16)
    whole = bench.attach()
    exact = bench.train(whole, steps=4)
    with over_bf16():
        losses = bench.train(attached, steps=4)
    require(all(t.dtype == torch.float32 for t in attached.tensors.values()), "a trained tensor is not fp32")
    require(all(torch.isfinite(torch.tensor(losses))), f"the loss is not finite in bf16: {losses}")
    gap = max(abs(a - b) for a, b in zip(losses, exact, strict=True))
    require(gap <= 0.15 * max(1.0, exact[0]), f"bf16 losses are {gap:.2f} away from those in fp32")


def check_quantised(bench: Bench, folder: Path) -> None:
    """13: over a quantised base."""
    raise NotApplicableError("the studio loads no quantised base yet")


def check_subsets(bench: Bench, folder: Path) -> None:
    """14: it works on part of the layers, and twice on one site."""
    layers = sorted({site.layer for site in bench.sites if site.layer is not None})
    if len(layers) > 1:
        _works_on(bench, [site for site in bench.sites if site.layer is None or site.layer <= layers[0]])
    if bench.method.traits.trains_base or bench.method.plugin.origin == "peft":
        return  # a tensor of the base is trained once, and peft's tuners want a module to themselves
    twice = bench.attach(times=2)
    require(twice.trainable == 2 * bench.count, "two placements share tensors they should each have")
    losses = bench.train(twice, steps=2)
    require(all(torch.isfinite(torch.tensor(losses))), "two placements on one site do not train")


def _works_on(bench: Bench, part: list[Site]) -> None:
    params = bench.params
    if bench.method.can_fit:
        try:
            params = bench.method.fit(params, part, bench.count // 2)
        except ValueError:
            return  # even its smallest size is too large for half the sites
    some = replace(bench, params=params)
    if declare_at(bench.method, params, part):
        answers = some.logits(some.attach(sites=part))
        require(bool(torch.isfinite(answers).all()), "on part of the layers it gives no finite answer")


def check_budget(bench: Bench, folder: Path) -> None:
    """15: fitted sizes grow with the budget, stay within it, and are the largest that do."""
    if not bench.method.can_fit:
        raise NotApplicableError("it has no size to choose")
    counts = []
    for budget in (bench.count, bench.count * 4 // 3 + 7, 2 * bench.count):
        counts.append(_fitted(bench, budget))
        require(counts[-1] <= budget, f"fit answers {counts[-1]:,} for a budget of {budget:,}")
    require(counts == sorted(counts), f"sizes do not grow with the budget: {counts}")
    for count in counts:
        require(_fitted(bench, count) == count, f"a budget of {count:,} is not used up, though a size has that count")
        smaller = _fitted(bench, count - 1) if count > min(counts) else None
        require(smaller is None or smaller < count, "fit ignores the budget")
    try:
        nothing = _fitted(bench, 0)
    except ValueError:
        return
    require(nothing == 0, "a budget of nothing is met by something")


def check_memory(bench: Bench, folder: Path) -> None:
    """16: what the trained side holds is what the count says: values, gradients and two averages, fp32 each."""
    attached = bench.attach()
    trainer = Trainer(bench, attached)
    trainer.step()
    moments = sum(
        value.numel() * value.element_size()
        for state in trainer.optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.dim()
    )
    tensors = sum(t.numel() * t.element_size() for t in attached.tensors.values())
    require(tensors == 4 * bench.count, f"holds {tensors:,} bytes for {bench.count:,} parameters")
    require(moments <= 8 * bench.count, f"the optimizer holds {moments:,} bytes for {bench.count:,} parameters")


def check_tracing(bench: Bench, folder: Path) -> None:
    """17: its functions trace as one graph, so that compiling the model does not break at every site."""
    attached = bench.attach()
    at = next((at for tuned in attached.tuned.values() for at in tuned.forwards + tuned.edits), None)
    if at is None or at.site.kind in ("model", "block", "attention", "ffn"):
        raise NotApplicableError("it acts on whole blocks or inputs")
    if not hasattr(at.math, "merge"):
        raise NotApplicableError("its output depends on the pass it runs in")
    weight = torch.randn(at.site.shape)
    weight = weight.transpose(-1, -2) if at.site.transposed else weight
    bias = torch.randn(at.site.d_out) if at.site.has_bias else None

    def compute(tensors: dict[str, Tensor], weight: Tensor, bias: Tensor | None) -> Any:
        return at.math.merge(at.params, at.site, tensors, weight, bias)

    torch._dynamo.reset()
    compiled = torch.compile(compute, backend="eager", fullgraph=True)
    expected = compute(at.tensors, weight, bias)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what torch's tracer does itself
        traced = compiled(at.tensors, weight, bias)[0]
    require(apart(traced, expected) <= CLOSE, "the traced function answers differently")


def check_export(bench: Bench, folder: Path) -> None:
    """18: LoRA factors are exactly what merging adds."""
    if bench.method.traits.export != "lora":
        raise NotApplicableError("it is not LoRA-shaped")
    attached = bench.attach()
    bench.train(attached)
    for tuned in attached.tuned.values():
        for at in tuned.placed:
            start = tuned.start(tuned.attribute)
            assert start is not None
            with torch.no_grad():
                weight, _ = tuned.merged([at])
                a, b, scale = at.math.lora_factors(at.params, at.site, at.tensors)
                difference = apart(to_map(at.site, start) + scale * (b @ a), weight)
            require(difference <= EXACT, f"the factors miss what merging adds by {difference:.1e} at {at.site.path}")
            require(tuple(a.shape) == (a.shape[0], at.site.d_in), f"A is {tuple(a.shape)} at {at.site.path}")


def check_factors(bench: Bench, folder: Path) -> None:
    """19: a map computed in one with its change answers as forward does, and has the same gradients."""
    attached = bench.attach()
    given = [at for tuned in attached.tuned.values() for at in tuned.forwards if hasattr(at.math, "low_rank")]
    if not any(at.math.low_rank(at.params, at.site, at.tensors) for at in given):
        raise NotApplicableError("it gives no factors")
    bench.train(attached)
    logits, gradients = bench.logits(attached), bench.gradients(attached)
    attached.flow.fuses = False
    difference = apart(logits, bench.logits(attached))
    require(difference <= CLOSE, f"with the factors of low_rank the model is {difference:.1e} away from forward's")
    _same_gradients(gradients, bench.gradients(attached), "computing with the factors of low_rank")


CHECKS: dict[str, Check] = {
    "count": check_count,
    "start": check_start,
    "learning": check_learning,
    "files": check_files,
    "merge": check_merge,
    "switch": check_switch,
    "own gradients": check_own_gradients,
    "recomputing": check_recomputing,
    "sequences": check_sequences,
    "accumulation": check_accumulation,
    "repeatability": check_repeatability,
    "precision": check_precision,
    "quantised": check_quantised,
    "subsets": check_subsets,
    "budget": check_budget,
    "memory": check_memory,
    "tracing": check_tracing,
    "export": check_export,
    "factors": check_factors,
}


def _brisk(bench: Bench) -> float:
    """A rate at which a tiny model moves within ten steps."""
    return min(5 * bench.method.traits.learning_rate, 0.1)


def _unreached(name: str) -> bool:
    """Base tensors that no input of these models reaches."""
    return any(part in name for part in ("pooler", "token_type", "relative_attention_bias"))


def _training_gradients(bench: Bench, attached: Attached) -> dict[str, Tensor]:
    """Gradients with the model in training mode, the draws of dropout fixed."""
    attached.model.train()
    for tensor in attached.tensors.values():
        tensor.grad = None
    torch.manual_seed(SEED)
    bench.specimen.loss(attached.model, ROWS).backward()  # type: ignore[no-untyped-call]
    return {name: t.grad.clone() for name, t in attached.tensors.items() if t.grad is not None}


def _same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor], when: str) -> None:
    require(found.keys() == expected.keys(), f"{when} changes which tensors have gradients")
    sizes = {name: float(gradient.abs().max()) for name, gradient in expected.items()}
    floor = max(1e-3, 1e-2 * max(sizes.values(), default=0.0))  # rounding goes with the largest
    for name, gradient in expected.items():
        share = apart(found[name], gradient) / max(floor, sizes[name])
        require(share <= 1e-3, f"{when} changes the gradient of {name} by {share:.1e} of its size")


def _fitted(bench: Bench, budget: int) -> int:
    fitted = bench.method.fit(bench.params, bench.sites, budget)
    return bench.with_params(fitted).count


def _method_source(bench: Bench) -> str:
    plugin = bench.method.plugin
    name = None if plugin.origin == "peft" else plugin.manifest.entry.method
    return (plugin.folder / f"{name}.py").read_text(encoding="utf-8") if name else ""
