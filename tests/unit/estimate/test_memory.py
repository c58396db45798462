"""The memory formula: against closed forms worked out by hand, against measurements, and in its tendencies."""

from dataclasses import replace

import pytest

from studio.api import ParamDecl, Site
from studio.core.forecast import MemoryParts
from studio.estimate.activations import Activations, measure_activations
from studio.estimate.attention import attention_bytes, kernel_of
from studio.estimate.batches import Batch, largest_batch
from studio.estimate.families import family_of
from studio.estimate.footprint import measure_footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.memory import measure_memory
from tests.helpers.estimates import big_decoder, cpu, full, gpu, inputs, lengths, lora, small_decoder, small_encoder

MIB = 1024**2
MODEL = small_decoder()
H, MIDDLE, Q, K, HEADS = MODEL.hidden, MODEL.intermediate, 576, 192, 9


def activations(run: EstimateInputs, batch: Batch) -> Activations:
    family = family_of(run.model)
    return measure_activations(run, batch, family, measure_footprint(run.declared, family))


def test_that_a_decoder_keeps_what_its_layers_need_for_their_gradients() -> None:
    """Two RMSNorm inputs in fp32, q, k, v, attention output and log-sum-exp, three intermediates, and LoRA's own."""
    run = inputs(declared=lora(MODEL, 8), masked=False)
    tokens = 2 * 64
    norms = 2 * (2 * H + 4)
    attention = 2 * (2 * Q + 2 * K) + 4 * HEADS
    method = 2 * (H + H + MIDDLE + 7 * 8)  # three inputs (o reads attention's output), seven bottlenecks
    layer = (norms + attention + 2 * 2 * MIDDLE + method) * tokens
    casts = 2 * measure_footprint(run.declared, family_of(MODEL)).trainable
    first_norm_is_not_needed = (2 * H + 4) * tokens
    last_norm = (2 * H + 4) * tokens
    expected = 30 * layer + casts - first_norm_is_not_needed + last_norm
    assert activations(run, Batch(2, 64, 10)).kept == expected


def test_that_a_mask_repeats_grouped_keys_and_is_kept_by_each_layer() -> None:
    batch = Batch(2, 64, 10)
    bare, masked = (activations(inputs(masked=value), batch).kept for value in (False, True))
    assert masked - bare == 30 * (2 * 2 * (Q - K) * batch.tokens + 2 * 64 * batch.tokens)


def test_that_checkpointing_keeps_one_hidden_state_per_layer() -> None:
    batch = Batch(2, 64, 10)
    kept = activations(inputs(checkpointing=True), batch)
    assert kept.kept == 30 * 2 * H * batch.tokens + (2 * H + 4) * batch.tokens
    assert kept.in_backward < activations(inputs(), batch).kept / 5


def test_that_nothing_is_kept_below_the_lowest_trained_layer() -> None:
    batch = Batch(2, 64, 10)
    upper = activations(inputs(declared=lora(MODEL, lowest=15)), batch).kept
    assert upper == pytest.approx(activations(inputs(), batch).kept / 2, rel=0.02)


def test_that_the_output_projection_reads_what_attention_keeps_anyway() -> None:
    batch = Batch(2, 64, 10)
    q, both = (activations(inputs(declared=lora(MODEL, 8, roles)), batch).kept for roles in (("q",), ("q", "o")))
    assert both - q == 30 * 2 * (8 * batch.tokens + 8 * 2 * H)


def test_that_the_output_projection_keeps_its_input_where_attention_keeps_nothing() -> None:
    batch = Batch(2, 64, 10)
    o, none = (
        activations(inputs(declared=lora(MODEL, 8, ("o",), lowest=29) if some else ()), batch).kept for some in (1, 0)
    )
    above = (2 * H + 4) * 2 + 2 * 2 * MIDDLE  # its layer's second norm and feed-forward, and the last norm
    assert o - none == (above + 2 * (H + 8)) * batch.tokens + 2 * 8 * 2 * H


def test_that_nothing_of_the_model_is_kept_for_a_network_beside_it() -> None:
    model = Site("", "model", "model", None, H, H, (), False)
    declared = ((model, (ParamDecl("down", (8, H)), ParamDecl("norm", (8,), "ones"), ParamDecl("up", (H, 8)))),)
    kept = activations(inputs(declared=declared, backbone_grad=False), Batch(2, 64, 10))
    assert kept.kept == 2 * (H + 8 + 8 + 8 + H) * 128 + 2 * (2 * 8 * H + 8)
    assert kept.workspace == 0


def test_that_capped_scores_keep_the_maps_of_attention() -> None:
    batch = Batch(2, 64, 10)
    shape = {"heads": HEADS, "kv_heads": HEADS, "layers": 1}
    gemma = small_decoder(model_type="gemma2", **shape)
    family, other = family_of(gemma), family_of(small_decoder(**shape))
    run = inputs(gemma)
    fused = attention_bytes(run, batch, other)
    assert attention_bytes(run, batch, family) == fused - 2 * Q - 4 * HEADS - 2 * 64 + (2 + 4 + 2) * HEADS * 64


def test_that_a_family_may_drop_states_but_no_attention_weights() -> None:
    opt, gpt2 = (small_decoder(model_type=name, gated_mlp=False) for name in ("opt", "gpt2"))
    batch = Batch(2, 64, 10)
    kept = [attention_bytes(inputs(model, masked=False), batch, family_of(model)) for model in (opt, gpt2)]
    assert kept == [2 * (2 * Q + 2 * K) + 4 * HEADS, 3 * 4 * Q + 3 * 4 * HEADS * 64]


def test_that_every_expert_that_sees_a_token_keeps_its_own_intermediates() -> None:
    dense, mixture = small_decoder(), small_decoder(active_experts=2)
    batch = Batch(2, 64, 10)
    more = [activations(inputs(model, declared=lora(model)), batch).kept for model in (dense, mixture)]
    assert more[1] - more[0] == 30 * 2 * (2 * 3 * MIDDLE - 2 * MIDDLE + 2 * H) * batch.tokens


def test_that_a_run_which_trains_the_head_alone_keeps_no_layer() -> None:
    head = Site("lm_head", "linear", "head", None, H, MODEL.vocab, (MODEL.vocab, H), False)
    run = inputs(declared=((head, (ParamDecl("A", (8, H)),)),))
    assert activations(run, Batch(2, 64, 10)).kept < MIB


def test_that_an_encoder_with_dropout_keeps_attention_maps_on_a_cpu_where_heads_share_keys_alone() -> None:
    encoder = small_encoder()
    run = inputs(encoder, task="classification", declared=lora(encoder, 8, ("q", "v")))
    batch = Batch(8, 128, 0)
    with_dropout = activations(replace(run, dropout=True), batch).kept
    without = activations(replace(run, dropout=False), batch).kept
    assert without < with_dropout < 1.2 * without
    grouped = replace(run, dropout=True, model=small_encoder(kv_heads=encoder.heads // 2))
    assert activations(grouped, batch).kept > 2 * without
    on_gpu = activations(replace(run, dropout=True, device=gpu()), batch).kept
    assert without < on_gpu < 1.2 * without


@pytest.mark.parametrize(
    ("rows", "length", "trained", "precision", "checkpointing", "measured_mib", "tolerance"),
    [
        (1, 64, 6, "bf16", False, 788, 0.05),
        (4, 256, 25, "bf16", False, 1538, 0.10),
        (4, 256, 256, "bf16", False, 1547, 0.10),
        (4, 256, 25, "bf16", True, 1033, 0.10),
        (4, 256, 256, "bf16", True, 1002, 0.10),
        (8, 128, 12, "bf16", False, 1569, 0.10),
        (4, 512, 10, "bf16", False, 2370, 0.10),
        (2, 256, 25, "fp32", False, 1937, 0.10),
        (2, 256, 256, "fp32", True, 1483, 0.10),
    ],
)
def test_that_the_total_is_near_the_peak_of_a_real_process(
    rows: int, length: int, trained: int, precision: str, checkpointing: bool, measured_mib: int, tolerance: float
) -> None:
    """Peaks of ``tests/bench/process_memory.py`` on a 2-core Linux machine."""
    facts = lengths(mean=length, p50=length, p95=length, longest=length, trained=trained)
    run = inputs(
        declared=lora(MODEL, 16), micro_batch=rows, effective_batch=2 * rows, precision=precision,
        checkpointing=checkpointing, lengths=facts, max_length=length,
    )  # fmt: skip
    assert measure_memory(run).total == pytest.approx(measured_mib * MIB, rel=tolerance)


BOOLQ = {"mean": 153.0, "p50": 143, "p95": 300, "longest": 422, "trained": 2.0, "sampled": 1000}
SHORT = {"mean": 19.6, "p50": 18, "p95": 31, "longest": 57, "trained": 2.2, "sampled": 1000}


@pytest.mark.parametrize(
    ("facts", "longest_row", "batch", "rows", "packing", "precision", "measured_mib"),
    [
        (BOOLQ, 512, 16, 8, False, "bf16", 3820),
        (BOOLQ, 512, 16, 4, False, "bf16", 2549),
        (BOOLQ, 512, 16, 4, True, "bf16", 2036),
        (BOOLQ, 512, 8, 8, True, "bf16", 1972),
        (BOOLQ, 512, 16, 4, True, "fp32", 2990),
        (SHORT, 96, 8, 8, False, "bf16", 1376),
        (SHORT, 96, 8, 8, True, "bf16", 1280),
    ],
)
def test_that_steps_on_rows_of_mixed_lengths_are_foreseen(
    facts: dict[str, float], longest_row: int, batch: int, rows: int, packing: bool, precision: str, measured_mib: int
) -> None:
    """Peaks after steps on ordinary rows and on the longest (BoolQ and the quickstart), on a CPU with bf16."""
    run = inputs(
        declared=lora(MODEL, 8), micro_batch=rows, effective_batch=batch, precision=precision, packing=packing,
        lengths=lengths(**facts), max_length=longest_row, accumulation=batch // rows, device=cpu(),
    )  # fmt: skip
    assert measure_memory(run).total == pytest.approx(measured_mib * MIB, rel=0.08)


def test_that_trainables_cost_sixteen_bytes_each_once_gradients_are_summed() -> None:
    parts = measure_memory(inputs(declared=lora(MODEL, 8), accumulation=4))
    trainable = measure_footprint(lora(MODEL, 8), family_of(MODEL)).trainable
    assert (parts.trainable, parts.gradients, parts.optimizer) == (4 * trainable, 4 * trainable, 8 * trainable)


def test_that_a_single_micro_batch_has_no_gradients_when_its_activations_peak() -> None:
    assert measure_memory(inputs(declared=lora(MODEL, 8), accumulation=1, checkpointing=False)).gradients == 0


def test_that_gradients_decide_the_peak_where_activations_are_few() -> None:
    """At the lowest layer all gradients but its own are there."""
    declared = full(MODEL)
    footprint = measure_footprint(declared, family_of(MODEL))
    run = inputs(
        declared=declared, task="classification", checkpointing=True, micro_batch=1, accumulation=1, max_length=64,
        lengths=None,
    )  # fmt: skip
    own = footprint.use_of(0).trained
    assert measure_memory(run).gradients == 4 * footprint.trainable
    longer = replace(run, max_length=4096)
    assert measure_memory(longer).gradients == 4 * (footprint.trainable - own)


def test_that_masters_of_base_tensors_replace_them_in_fp32_and_join_them_in_bf16() -> None:
    declared = full(MODEL)
    trained = measure_footprint(declared, family_of(MODEL)).trainable
    fp32, bf16 = (measure_memory(inputs(declared=declared, precision=p)) for p in ("fp32", "bf16"))
    assert fp32.weights + fp32.trainable == 4 * MODEL.params
    assert bf16.weights == 2 * MODEL.params
    assert bf16.trainable == 4 * trained


def test_that_a_classification_head_is_counted() -> None:
    encoder = small_encoder()
    run = inputs(encoder, task="classification", declared=lora(encoder, 8, ("q", "v")))
    with_head = measure_memory(replace(run, head_params=1000))
    assert with_head.optimizer - measure_memory(run).optimizer == 8000
    assert with_head.logits == 0


def test_that_logits_count_only_tokens_that_carry_loss() -> None:
    head = Site("lm_head", "linear", "head", None, H, MODEL.vocab, (MODEL.vocab, H), False)
    whole = ((head, (ParamDecl("weight", head.shape, base="weight"),)),)
    few = measure_memory(inputs(declared=whole, lengths=lengths(trained=3.0)))
    many = measure_memory(inputs(declared=whole, lengths=lengths(trained=150.0)))
    assert many.logits == pytest.approx(50 * few.logits, rel=0.01)


def test_that_logits_behind_a_frozen_head_are_made_for_some_tokens_at_a_time() -> None:
    few, many = (measure_memory(inputs(lengths=lengths(trained=count))) for count in (0.5, 150.0))
    assert few.logits < many.logits
    assert many.logits == pytest.approx((2 * 4 + 2) * 2**24 / 4, rel=0.01)
    for name in ("granite", "unheard-of"):  # scales them; nobody knows
        other = small_decoder(model_type=name)
        assert measure_memory(inputs(other, lengths=lengths(trained=150.0))).logits > 10 * many.logits


def test_that_evaluation_can_be_the_peak() -> None:
    spoken = lengths(trained=150.0)
    run = inputs(big_decoder(), micro_batch=1, checkpointing=True, device=gpu(), lengths=spoken, effective_batch=4)
    assert measure_memory(replace(run, eval_rows=100)).total > measure_memory(run).total


def test_that_packed_rows_are_as_long_as_the_longest_of_a_step_are_together() -> None:
    batch = largest_batch(inputs(packing=True, lengths=None, max_length=100))
    assert (batch.rows, batch.length, batch.tokens, batch.packed) == (4, 100, 400, True)
    mixed = lengths(mean=100.0, p50=80, p95=250, longest=400)
    alone = largest_batch(inputs(packing=True, lengths=mixed, micro_batch=1, effective_batch=16, max_length=512))
    four = largest_batch(inputs(packing=True, lengths=mixed, micro_batch=4, effective_batch=16, max_length=512))
    assert alone.tokens + 3 * 80 < four.tokens < 4 * alone.tokens


def test_that_packed_rows_on_a_cpu_need_no_mask_and_write_out_short_attention_weights_in_half_precision() -> None:
    run = inputs(packing=True, lengths=None, max_length=100)
    batch, family = largest_batch(run), family_of(MODEL)
    wide = replace(run, precision="fp32")
    masked = replace(run, device=gpu())
    assert attention_bytes(run, batch, family) == 2 * (Q + 2 * K)
    assert attention_bytes(wide, batch, family) == 4 * (2 * Q + 2 * K) + 4 * HEADS
    assert attention_bytes(masked, batch, family) == 2 * (2 * Q + 2 * Q) + 4 * HEADS + 2 * 400
    long = largest_batch(replace(run, max_length=2048))
    assert attention_bytes(run, long, family) == 2 * (2 * Q + 2 * K) + 4 * HEADS


@pytest.mark.parametrize(
    ("run", "kernel"),
    [
        (inputs(packing=True), "by row"),
        (inputs(), "flash"),
        (inputs(device=gpu()), "memory-efficient"),
        (inputs(device=gpu(), masked=False), "flash"),
        (inputs(device=gpu(), masked=False, precision="fp32"), "memory-efficient"),
        (inputs(small_decoder(model_type="gemma2"), packing=True), "written out"),
        (inputs(small_decoder(model_type="gpt2", kv_heads=HEADS), packing=True), "written out"),
        (inputs(small_decoder(model_type="falcon", kv_heads=1)), "written out"),
        (inputs(small_encoder()), "dropping"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_which_kernel_attends(run: EstimateInputs, kernel: str) -> None:
    found, why = kernel_of(run, family_of(run.model))
    assert found == kernel
    assert why


def test_that_a_gpu_needs_a_context_and_no_process() -> None:
    parts = measure_memory(inputs(device=gpu()))
    assert parts.context == 512 * MIB
    assert parts.workspace > 32 * MIB


MORE: list[tuple[str, dict[str, object]]] = [
    ("rows", {"micro_batch": 8}),
    ("tokens", {"max_length": 2048, "lengths": None}),
    ("rank", {"declared": lora(MODEL, 64)}),
    ("places", {"declared": lora(MODEL, 8)}),
    ("precision", {"precision": "fp32"}),
    ("loss", {"lengths": lengths(trained=150.0)}),
]


@pytest.mark.parametrize(("what", "changes"), MORE)
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_that_more_of_anything_never_needs_less(
    what: str, changes: dict[str, object], checkpointing: bool, device: str
) -> None:
    all_logits = small_decoder(model_type="granite")  # scaled, so that they are all there at once
    base = inputs(all_logits, declared=lora(MODEL, 8, ("q", "v")), checkpointing=checkpointing)
    base = replace(base, device=gpu()) if device == "cuda" else base
    assert _total(replace(base, **changes)) > _total(base)  # type: ignore[arg-type]


def _total(run: EstimateInputs) -> int:
    parts = measure_memory(run)
    assert parts == MemoryParts(**{name: max(0, value) for name, value in parts.model_dump().items()})
    return parts.total
