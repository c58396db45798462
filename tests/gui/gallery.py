"""What the pictures show: a home with a dozen runs, and a backend that answers with realistic facts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from studio.api import Site
from studio.core.events import Failed
from studio.core.facts import DataFacts, DeviceFacts, DeviceSample, ModelFacts
from studio.core.forecast import Room
from studio.core.paths import Home
from studio.core.plan import Auto, PlannedPlacement
from studio.core.problems import Severity
from studio.core.units import GIB
from studio.datasets.check import check_mapping
from studio.datasets.lint.finding import Finding
from studio.datasets.preview import PreviewRow
from studio.datasets.render import render_row
from studio.datasets.statistics import Statistics
from studio.estimate import estimate_run
from studio.extensions.methods import open_method
from studio.extensions.registry import discover
from studio.gui.backend import Backend, Check
from studio.models.header import TensorInfo
from studio.models.sites import is_quantizable, sites_of
from studio.service.accuracy import Accuracy, GroupAccuracy, Pair, RunAccuracy
from studio.service.methods import count_on
from studio.service.side_by_side import Counted, count_plugin
from tests.gui.fake_backend import BOOLQ, ENCODER, GPU, IMDB, MODEL, WHERE, FakeBackend, plan, simulated
from tests.gui.run_writer import RunWriter, write_running
from tests.helpers import estimates

NOW = datetime(2026, 11, 24, 9, 41, tzinfo=UTC).timestamp()
LIVE = "20261124-093600-boolq-lora-r16-7c1e"
COMPARED = ("boolq-lora-r16-lr1e-3", "boolq-lora-r8", "boolq-lora-r2")
QWEN = MODEL.model_copy(update={
    "name": "qwen2.5-1.5b", "path": "/models/qwen2.5-1.5b", "architecture": "Qwen2ForCausalLM",
    "model_type": "qwen2", "params": 1_543_714_304, "weight_bytes": 3_087_467_144, "layers": 28,
    "hidden": 1536, "intermediate": 8960, "heads": 12, "kv_heads": 2,
    "head_dim": 128, "vocab": 151_936, "max_positions": 131_072,
})  # fmt: skip
MISTRAL = MODEL.model_copy(update={
    "name": "mistral-7b-v0.3", "path": "/models/mistral-7b-v0.3", "architecture": "MistralForCausalLM",
    "model_type": "mistral", "params": 7_248_023_552, "weight_bytes": 14_496_047_104, "layers": 32,
    "hidden": 4096, "intermediate": 14_336,
    "heads": 32, "kv_heads": 8, "head_dim": 128, "vocab": 32_768, "max_positions": 32_768, "tied_embeddings": False,
    "has_chat_template": False,
})  # fmt: skip
MEDICAL = BOOLQ.model_copy(update={
    "name": "medical-subjects", "rows": 2250, "columns": ("question", "subject"), "license": "Apache-2.0",
    "mapping": {"prompt": "Question: {question}\nSubject:", "completion": "subject"}, "source": "MedMCQA",
})  # fmt: skip
CHATS = BOOLQ.model_copy(update={
    "name": "support-chats", "rows": 48_210, "columns": ("messages",), "format": "messages", "license": "",
    "mapping": {"messages": "messages"}, "source": "support-chats.jsonl",
})  # fmt: skip
LENGTHS = estimates.lengths(mean=171, longest=930, max_length=1024)
QUESTIONS = (
    ("Which nerve supplies the deltoid muscle?", "anatomy"),
    ("Which vitamin is the cofactor of pyruvate carboxylase?", "biochemistry"),
    ("The first permanent tooth to erupt is the", "dentistry"),
    ("Which drug is given first in eclampsia?", "obstetrics"),
    ("Which of these is a loop diuretic?", "pharmacology"),
    ("The foramen ovale of the skull transmits the", "anatomy"),
    ("Ketone bodies are not used by the", "biochemistry"),
    ("Which antibiotic stains growing teeth?", "pharmacology"),
)


@dataclass(frozen=True)
class Told:
    """One run of the catalog: when, what, how it ended, how its loss fell."""

    at: str
    name: str
    state: str
    use: str = "lora"
    model: str = "smollm2-135m-instruct"
    data: str = "boolq"
    trainable: int = 460_800
    steps: int = 200
    done: int = 200
    floor: float = 0.35
    decay: float = 60
    tags: tuple[str, ...] = ()
    star: bool = False
    notes: str = ""


RUNS = (
    Told("20261124-074000", "mistral-support", "failed", model="mistral-7b-v0.3", data="support-chats",
         trainable=20_971_520, steps=600, done=41, tags=("support",)),
    Told("20261123-221200", "boolq-lora-r16-lr1e-3", "completed", trainable=921_600, floor=0.31, decay=40,
         tags=("paper", "sweep"), star=True, notes="Best so far. Repeat with three seeds before it goes in the table."),
    Told("20261123-214000", "boolq-lora-r8", "completed", floor=0.36, decay=62, tags=("paper", "sweep")),
    Told("20261123-211500", "boolq-lora-r2", "completed", trainable=115_200, floor=0.62, decay=95,
         tags=("paper",)),
    Told("20261123-180300", "boolq-full", "stopped", use="full", trainable=134_515_008, done=120, floor=0.4, decay=50,
         tags=("paper",)),
    Told("20261122-162000", "imdb-minilm", "completed", use="bitfit", model="minilm-l6", data="imdb-sample",
         trainable=26_112, steps=120, done=120, floor=0.3, decay=45),
    Told("20261122-101500", "subjects-qwen", "paused", model="qwen2.5-1.5b", data="medical-subjects",
         trainable=4_358_144, steps=400, done=260, floor=0.22, decay=80, tags=("long",), star=True),
    Told("20261121-193000", "support-qwen", "crashed", model="qwen2.5-1.5b", data="support-chats",
         trainable=4_358_144, steps=800, done=96, tags=("support",)),
    Told("20261121-090500", "subjects-lora", "completed", data="medical-subjects", floor=0.2, decay=38),
    Told("20261120-153000", "subjects-lora-r4", "completed", data="medical-subjects", trainable=230_400, floor=0.24,
         decay=44),
    Told("20261120-113000", "First run", "completed", data="medical-subjects", steps=40, done=40, floor=0.5, decay=16),
)  # fmt: skip


def write_runs(runs: Path) -> list[RunWriter]:
    """All run folders, and the one that trains now; release the writers when the pictures are taken."""
    runs.mkdir(parents=True, exist_ok=True)
    return [*(_write(runs, number, told) for number, told in enumerate(RUNS)), _write_live(runs)]


def _write(runs: Path, number: int, told: Told) -> RunWriter:
    writer = RunWriter(
        runs, f"{told.at}-{told.name.lower().replace(' ', '-')}-{number:04x}", clock=_seconds(told.at),
        steps=told.steps, trainable=told.trainable,
    )  # fmt: skip
    writer.floor, writer.decay, writer.seed = told.floor, told.decay, number + 1
    _describe(writer, told)
    writer.state("starting")
    writer.eval(0)
    writer.state("running")
    for first in range(1, told.done + 1, 40):
        last = min(first + 39, told.done)
        writer.steps(first, last, device=False, total=told.steps)
        writer.eval(last)
    _end(writer, told)
    return writer


def _describe(writer: RunWriter, told: Told) -> None:
    spec = json.loads(writer.folder.spec.read_text())
    spec |= {
        "name": told.name,
        "model": {"source": f"library:{told.model}"},
        "data": {"source": f"library:{told.data}"},
    }
    rank = next((rank for rank in (16, 4, 2) if f"r{rank}" in told.name.split("-")), 8)
    params = {"rank": rank} if told.use == "lora" else {}
    spec["method"] = {"placements": [{"use": told.use, "params": params}]}
    spec["train"] = {"learning_rate": 1e-3 if "lr1e-3" in told.name else 2e-4, "max_steps": told.steps}
    writer.folder.spec.write_text(json.dumps(spec))
    labels = {"created": _seconds(told.at), "tags": told.tags, "star": told.star, "notes": told.notes}
    writer.folder.labels.write_text(json.dumps(labels))


def _end(writer: RunWriter, told: Told) -> None:
    if told.state == "completed":
        writer.finish()
        return
    if told.state == "failed":
        message = "the GPU ran out of memory: 24.1 GiB were needed at step 42"
        writer.add(Failed(writer.clock + 1, "MachineError", message,
                          "take a micro-batch of 2, or recompute activations", "device cuda:0"))  # fmt: skip
    if told.state == "crashed":
        writer.folder.worker.write_text(json.dumps({"pid": 1, "created": writer.clock}))
    else:
        writer.state(told.state)
    writer.release()


def _write_live(runs: Path) -> RunWriter:
    writer = RunWriter(runs, LIVE, clock=NOW - 252, steps=600, trainable=921_600)
    writer.floor, writer.decay, writer.seed = 0.33, 90, 99
    _describe(writer, Told("20261124-093600", "boolq-lora-r16", "running", tags=("sweep",)))
    return write_running(writer, 384)


def _seconds(stamp: str) -> float:
    moment = datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return moment.timestamp()


class GalleryBackend(FakeBackend):
    """A full library, the catalog of the home, and forecasts by the real formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.model_list = [MODEL, ENCODER, QWEN, MISTRAL]
        self.data_list = [BOOLQ, MEDICAL, IMDB, CHATS]
        self.method_list = Backend.methods(self)
        self.clock = NOW
        self.held = int(2.1 * GIB)
        self.accuracy_found = accuracy()

    def home(self) -> Home:
        """A folder as a user has it; the runs are in the home of the environment."""
        return Home(Path("/home/ada/.local/share/pet-studio"))

    def active_runs(self) -> list[str]:
        return Backend.active_runs(self)

    def quickstart_spec(self) -> dict[str, Any]:
        return Backend.quickstart_spec(self)

    def sites(self, model_source: str) -> tuple[Site, ...]:
        return all_sites(self._model(model_source))

    def check(self, raw: Mapping[str, Any]) -> Check:
        """A forecast of the chosen model and method on the first GPU, else on the CPU."""
        found = super().check(raw)
        if found.problems:
            return found
        device = next((facts for facts in self.device_list if facts.kind == "cuda"), self.device_list[0])
        return forecast(self._model(raw["model"]["source"]), raw, device)

    def refine(self, raw: Mapping[str, Any]) -> Check:
        """As a simulation would say it, with the room that the formulas see."""
        found = simulated(self.check(raw))
        if found.estimate is None or found.device is None or found.plan is None:
            return found
        model = self._model(raw["model"]["source"])
        sizes = [0, *(size for size in range(1, 33) if _fits(_forecast(model, raw, found.device, size)))]
        longest = 1024 * sizes[-1] // found.plan.micro_batch // 64 * 64
        room = Room(micro_batch=sizes[-1], max_length=longest) if found.device.total_bytes else None
        return replace(found, estimate=found.estimate.model_copy(update={"room": room}))

    def count(
        self, model_source: str, method: str, params: Mapping[str, Any], where: str | None, budget: int | None = None
    ) -> Any:
        facts, opened = self._model(model_source), open_method(discover().get(method, "method"))
        return count_on(facts, self.sites(model_source), opened, dict(params), where, budget)

    def count_methods(
        self, model_source: str, methods: Sequence[str], budget: int | None, *, progress: Any, cancelled: Any
    ) -> list[Counted]:
        registry, facts, sites = discover(), self._model(model_source), self.sites(model_source)
        return [count_plugin(facts, sites, registry.get(name, "method"), budget) for name in methods]

    def sample_device(self, device_id: str) -> DeviceSample:
        """A GPU at work, a CPU that feeds it; a little unsteady, always the same."""
        facts = next(device for device in self.device_list if device.id == device_id)
        wave = ((self.clock * 7919) % 97) / 97 + 0.4 * ((self.clock % 40) / 40)
        if facts.kind == "cpu":
            used = int((5.1 + 0.2 * wave) * GIB)
            return self._sample(facts, used, 0.22 + 0.2 * wave, None, 58 + 2 * wave)
        sample = self._sample(facts, int((5.4 + 0.05 * wave) * GIB), 0.84 + 0.08 * wave, 305 + 22 * wave, 64 + wave)
        return sample.model_copy(update={"processes": ((48_213, int(2.1 * GIB)), (1877, int(0.6 * GIB)))})

    def _sample(
        self, facts: DeviceFacts, used: int, load: float, power_w: float | None, heat: float | None
    ) -> DeviceSample:
        return DeviceSample(
            device=facts.id, time=self.clock, used_bytes=used, free_bytes=facts.total_bytes - used,
            total_bytes=facts.total_bytes, utilization=load, power_w=power_w, temperature_c=heat,
        )  # fmt: skip

    def measure_dataset(self, name: str, model: str, *, progress: Any, cancelled: Any) -> Statistics:
        rng = np.random.default_rng(1)
        tokens = (24 + rng.gamma(2.2, 60, 2000)).astype(np.int64)
        answers = {"Anatomy": 812, "Pharmacology": 530, "Surgery": 404, "Pathology": 254}
        return Statistics(tokens, rng.integers(2, 5, 2000), answers, 2, 2002)

    def lint_dataset(self, name: str, *, progress: Any, cancelled: Any) -> list[Finding]:
        total = self.data_facts(f"library:{name}").rows

        def found(kind: str, message: str, hint: str, mends: str, *rows: int) -> Finding:
            severity: Severity = "error" if kind == "unusable" else "warning"
            return Finding(kind, name, message, hint, severity, np.array(rows), total, mends)

        mend = "leave these rows out"
        return [
            found("unusable", "the completion is empty", "fill it in or leave such rows out", mend, 40, 1871),
            found("markup", "HTML is left in the text", "the model would learn to write it", "take the HTML out",
                  11, 60, 61, 308, 977, 1402),
            found("personal", "addresses or numbers of people", "the model could repeat them",
                  "write what they are instead, such as [email]", 205),
            found("alike", "nearly the same as an earlier row", "look at them: sharing a passage is no fault", mend,
                  515, 990, 1570, 1833, *range(2001, 2250, 10)),
            found("leaked", "trained on, word for word or nearly, where 200 rows are held out",
                  "held-out figures flatter: leave out the rows that repeat others", "", 515, 1833),
        ]  # fmt: skip

    def dataset_rows(self, name: str, start: int, stop: int) -> list[dict[str, Any]]:
        rows = [
            dict(zip(("question", "subject"), QUESTIONS[i % len(QUESTIONS)], strict=True)) for i in range(start, stop)
        ]
        return rows if name == MEDICAL.name else super().dataset_rows(name, start, stop)

    def preview(
        self, name: str, format: str, mapping: Mapping[str, str], model: str, start: int, count: int, **_: Any
    ) -> list[PreviewRow]:
        facts: DataFacts = self.data_facts(f"library:{name}")
        if name != MEDICAL.name or check_mapping(facts, format, mapping, facts.labels):
            return super().preview(name, format, mapping, model, start, count)
        tokens, trained = (31, 2) if model else (None, None)
        return [
            PreviewRow(start + place, row, render_row(row, format, mapping, ()).segments, "", tokens, trained)
            for place, row in enumerate(self.dataset_rows(name, start, start + count))
        ]

    def _model(self, source: str) -> ModelFacts:
        return next(facts for facts in self.model_list if source == f"library:{facts.name}")


def accuracy() -> Accuracy:
    """How the finished runs of the catalog compare with their forecasts."""
    done = [told for told in reversed(RUNS) if told.state == "completed"]
    runs = tuple(_accuracy(told, place) for place, told in enumerate(done))
    groups = tuple(
        GroupAccuracy(quantity, GPU.name, "bf16", "lora", basis, count, error, bias, inside)
        for quantity, basis, count, error, bias, inside in (
            ("memory", "simulated", 4, 0.021, 0.012, 1.0), ("memory", "formula", 2, 0.094, -0.071, 1.0),
            ("time", "simulated", 6, 0.11, 0.083, 0.83), ("energy", "simulated", 6, 0.14, 0.09, 0.83),
        )
    )  # fmt: skip
    return Accuracy(runs[::-1], groups)


def _accuracy(told: Told, place: int) -> RunAccuracy:
    lean = (0.012, -0.031, 0.02, 0.24, 0.008, -0.015, 0.03)[place % 7]
    memory, seconds, energy = 2.1 * GIB, 1.8 * told.steps, 0.09 * told.steps
    return RunAccuracy(
        f"{told.at}-{told.name}", told.name, GPU.name, "bf16", told.use, "formula" if place < 2 else "simulated",
        Pair(memory, memory * 0.95, memory * 1.08, memory * (1 + lean / 2)),
        Pair(seconds, seconds * 0.8, seconds * 1.2, seconds * (1 + lean)),
        Pair(energy, energy * 0.7, energy * 1.3, energy * (1 + 1.3 * lean)) if place else None,
    )  # fmt: skip


def _fits(check: Check) -> bool:
    return check.estimate is not None and check.estimate.verdict != "does not fit"


def draft(model: str, use: str, **train: Any) -> dict[str, Any]:
    """A filled form."""
    params = {"rank": 16, "alpha": 32.0} if use == "lora" else {}
    return {
        "version": 1, "name": f"boolq-{use}", "task": "sft", "model": {"source": f"library:{model}"},
        "data": {"source": "library:boolq", "max_length": 1024},
        "method": {"placements": [{"use": use, "params": params}]},
        "train": {"max_steps": 600, "effective_batch": 16, **train},
    }  # fmt: skip


def forecast(model: ModelFacts, raw: Mapping[str, Any], device: DeviceFacts) -> Check:
    """A plan and the formulas' estimate for it; a micro-batch that is not chosen is the largest that fits."""
    written = raw.get("train", {}).get("micro_batch")
    sizes = [written] if isinstance(written, int) else [16, 8, 4, 2, 1]
    checks = [_forecast(model, raw, device, size) for size in sizes]
    return next((check for check in checks if check.estimate and check.estimate.verdict == "fits"), checks[-1])


def _forecast(model: ModelFacts, raw: Mapping[str, Any], device: DeviceFacts, micro: int) -> Check:
    placement = raw["method"]["placements"][0]
    declared = _declared(model, placement["use"], placement.get("params", {}))
    trainable = sum(decl.count for _, decls in declared for decl in decls)
    inputs = estimates.inputs(
        model, device=device, micro_batch=micro, accumulation=16 // micro, steps=600, train_rows=15_742, eval_rows=200,
        eval_every=100, max_length=1024, declared=declared, lengths=LENGTHS, tariff_per_kwh=0.32, grid_g_per_kwh=380,
        checkpointing=raw.get("train", {}).get("checkpointing") is True, formats=("int8", "nf4"),
        quantization=raw.get("train", {}).get("quantization", "none"),
        packable=tuple(filter(is_quantizable, all_sites(model))),
    )  # fmt: skip
    placed = PlannedPlacement(
        use=placement["use"], version="1.0.0", where=WHERE, params=placement.get("params", {}),
        sites=tuple(site.path for site, _ in declared), trainable=trainable,
    )  # fmt: skip
    total = model.params + (trainable if placement["use"] == "lora" else 0)
    made = plan().model_copy(update={
        "placements": (placed,), "trainable": trainable, "total": total, "steps": 600, "micro_batch": micro,
        "device": device.id, "device_name": device.name, "autos": _autos(device, micro),
    })  # fmt: skip
    return Check((), made, estimate_run(inputs), device)


def _autos(device: DeviceFacts, micro: int) -> tuple[Auto, ...]:
    return (
        Auto(field="data.format", value="prompt-completion", reason="recognised by its columns"),
        Auto(field="train.precision", value="bf16",
             reason=f"{device.name} computes bf16 natively; trainable tensors stay fp32"),
        Auto(field="train.micro_batch", value=micro, reason="the largest whose forecast fits the free memory"),
        Auto(field="train.learning_rate", value=2e-4, reason="the default of LoRA"),
    )  # fmt: skip


def _declared(model: ModelFacts, use: str, params: Mapping[str, Any]) -> Any:
    if use == "full":
        return estimates.full(model)
    rank = params.get("rank", 8) if use == "lora" else 1
    return estimates.lora(model, rank=int(rank))


@cache
def all_sites(model: ModelFacts) -> tuple[Site, ...]:
    """The sites that a checkpoint of such a model has."""
    encoder = model.kind == "encoder"
    config = {"model_type": model.model_type, "num_attention_heads": model.heads, "hidden_size": model.hidden}
    shapes = _encoder_shapes(model) if encoder else _decoder_shapes(model)
    return sites_of(config, {name: TensorInfo("BF16", shape, 0, "model.safetensors") for name, shape in shapes.items()})


def _decoder_shapes(model: ModelFacts) -> dict[str, tuple[int, ...]]:
    hidden, inner, keys = model.hidden, model.intermediate, model.kv_heads * model.head_dim
    queries = model.heads * model.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (model.vocab, hidden)}
    for layer in range(model.layers):
        place = f"model.layers.{layer}"
        shapes |= {
            f"{place}.input_layernorm.weight": (hidden,),
            f"{place}.self_attn.q_proj.weight": (queries, hidden),
            f"{place}.self_attn.k_proj.weight": (keys, hidden),
            f"{place}.self_attn.v_proj.weight": (keys, hidden),
            f"{place}.self_attn.o_proj.weight": (hidden, queries),
            f"{place}.post_attention_layernorm.weight": (hidden,),
            f"{place}.mlp.gate_proj.weight": (inner, hidden),
            f"{place}.mlp.up_proj.weight": (inner, hidden),
            f"{place}.mlp.down_proj.weight": (hidden, inner),
        }
    return shapes | {"model.norm.weight": (hidden,)}


def _encoder_shapes(model: ModelFacts) -> dict[str, tuple[int, ...]]:
    hidden, inner = model.hidden, model.intermediate
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (model.vocab, hidden)}
    maps = {
        "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
        "attention.output.LayerNorm": (hidden,), "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner), "output.LayerNorm": (hidden,),
    }  # fmt: skip
    for layer in range(model.layers):
        for name, shape in maps.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    return shapes
