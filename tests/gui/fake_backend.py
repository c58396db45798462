"""A backend that answers at once with realistic facts; tests change its fields."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from studio.api import Site
from studio.core.errors import Cancelled, InvalidSpecError, StudioError, UserError
from studio.core.facts import DataFacts, DeviceFacts, DeviceSample, ModelFacts
from studio.core.forecast import (
    Advice,
    DeviceFit,
    EnergyForecast,
    Estimate,
    MemoryForecast,
    MemoryParts,
    Room,
    TimeForecast,
)
from studio.core.plan import Auto, Plan, PlannedPlacement
from studio.core.problems import Problem
from studio.core.spec import parse_spec
from studio.core.units import GIB, MIB
from studio.datasets.check import check_mapping
from studio.datasets.example import Segment
from studio.datasets.preview import PreviewRow
from studio.gui.backend import Backend, Check
from studio.models.where import select
from studio.service.accuracy import Accuracy

MODEL = ModelFacts(
    name="smollm2-135m-instruct", path="/library/models/smollm2", architecture="LlamaForCausalLM", model_type="llama",
    kind="decoder", params=134_515_008, weight_bytes=269 * MIB, dtype="bfloat16", layers=30, hidden=576,
    intermediate=1536, heads=9, kv_heads=3, head_dim=64, vocab=49_152, max_positions=8192, tied_embeddings=True,
    gated_mlp=True, has_chat_template=True, license="Apache-2.0", fingerprint="ab" * 32,
)  # fmt: skip
ENCODER = MODEL.model_copy(update={
    "name": "minilm-l6", "architecture": "BertModel", "model_type": "bert", "kind": "encoder", "params": 22_713_216,
    "weight_bytes": 87 * MIB, "dtype": "float32", "layers": 6, "hidden": 384, "has_chat_template": False,
})  # fmt: skip
BOOLQ = DataFacts(
    name="boolq", path="/library/datasets/boolq", rows=15_942, columns=("question", "passage", "label"),
    format="prompt-completion",
    mapping={"prompt": "{passage}\nQuestion: {question}?\nAnswer:", "completion": "{label}"},
    labels=(), license="CC BY-SA 3.0", source="BoolQ", fingerprint="cd" * 32,
)  # fmt: skip
IMDB = DataFacts(
    name="imdb-sample", path="/library/datasets/imdb", rows=200, columns=("text", "label"), format="classification",
    mapping={"text": "text", "label": "label"}, labels=("negative", "positive"), license="Research use",
)  # fmt: skip
CPU = DeviceFacts(id="cpu", name="AMD EPYC 7B13", kind="cpu", total_bytes=16 * GIB, free_bytes=13 * GIB, cores=2)
GPU = DeviceFacts(
    id="cuda:0", name="NVIDIA GeForce RTX 4090", kind="cuda", total_bytes=24 * GIB, free_bytes=21 * GIB,
    compute_capability=(8, 9), bf16=True, power_limit_w=450, driver="570.86",
)  # fmt: skip

LORA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rank": {"type": "integer", "default": 8, "minimum": 1, "maximum": 1024, "ui": {"label": "Rank", "step": 1},
                 "description": "Rank r of the update; parameters grow in proportion."},
        "alpha": {"type": "number", "default": 16.0, "ui": {"label": "Alpha"},
                  "description": "The update is scaled by alpha / rank."},
        "dropout": {"type": "number", "default": 0.0, "minimum": 0, "maximum": 0.95,
                    "ui": {"label": "Dropout", "step": 0.05, "advanced": True}},
        "rslora": {"type": "boolean", "default": False,
                   "ui": {"label": "Rank-stabilised scale", "advanced": True}},
    },
}  # fmt: skip
BITFIT_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
WHERE = "role in (q, k, v, o, gate, up, down)"


def method(id_: str, title: str, summary: str, schema: dict[str, Any], where: str) -> Any:
    """A MethodInfo look-alike: the services are not imported in these tests."""
    return SimpleNamespace(
        id=id_, kind="method", title=title, summary=summary, paper="Hu et al., 2021, arXiv 2106.09685",
        formula="y = W x + (alpha / r) B A x", version="1.0.0", params_schema=schema,
        traits={"kinds": ["linear"], "where": where, "mergeable": True, "learning_rate": 2e-4},
        tags=("low-rank", "mergeable"), readme=f"# {title}\n\n{summary}", origin="bundled",
        checks=SimpleNamespace(families={"llama": ("allocates", "trains"), "bert": ("allocates",)}, failed=0),
    )  # fmt: skip


def llama_sites(layers: int = 30) -> tuple[Site, ...]:
    shapes = {"q": (576, 576), "k": (576, 192), "v": (576, 192), "o": (576, 576),
              "gate": (576, 1536), "up": (576, 1536), "down": (1536, 576)}  # fmt: skip
    return tuple(
        Site(f"layers.{layer}.{role}_proj", "linear", role, layer, d_in, d_out, (d_out, d_in), has_bias=False)
        for layer in range(layers)
        for role, (d_in, d_out) in shapes.items()
    )


def estimate(verdict: str = "fits", *, energy: bool = True) -> Estimate:
    parts = MemoryParts(
        weights=269 * MIB, trainable=10 * MIB, gradients=10 * MIB, optimizer=20 * MIB, activations=1300 * MIB,
        logits=780 * MIB, workspace=96 * MIB, context=420 * MIB,
    )  # fmt: skip
    factor = {"fits": 1, "close": 7, "does not fit": 12}[verdict]
    total = parts.total * factor
    advice = (
        (Advice(change="Recompute activations in the backward pass", saves_bytes=1100 * MIB,
                patch={"train.checkpointing": True}),
         Advice(change="Halve the micro-batch to 4 rows", saves_bytes=900 * MIB, patch={"train.micro_batch": 4}))
        if verdict != "fits" else ()
    )  # fmt: skip
    return Estimate(
        memory=MemoryForecast(
            total_bytes=total, low_bytes=int(total * 0.94), high_bytes=int(total * 1.08), parts=parts
        ),
        time=TimeForecast(seconds=424, low=360, high=610, seconds_per_step=6.9),
        energy=EnergyForecast(watt_hours=12.4, low=10.1, high=17.2, cost=0.004, co2_g=4.7) if energy
        else EnergyForecast(),
        fits=verdict != "does not fit", verdict=verdict, device="cuda:0", basis="calibrated",
        evidence="From formulas, corrected by 3 of your own runs on this device.", advice=advice,
    )  # fmt: skip


def simulated(found: Check) -> Check:
    """The same forecast as a simulation gives it: with room, a narrower band, and advice that knows its cost.

    Of advice that says nothing of its cost yet, the first does not suffice alone.
    """
    if found.estimate is None:
        return found
    memory = found.estimate.memory
    narrow = {"low_bytes": int(memory.total_bytes * 0.98), "high_bytes": int(memory.total_bytes * 1.03)}
    advice = tuple(
        item.model_copy(update={"slower": 1.3 if "checkpointing" in str(item.patch) else 1.0, "fits": place != 0})
        if item.slower is None else item
        for place, item in enumerate(found.estimate.advice)
    )  # fmt: skip
    better = found.estimate.model_copy(update={
        "memory": memory.model_copy(update=narrow), "basis": "simulated", "advice": advice,
        "evidence": "a simulated step of this model, no run on this device yet",
        "room": Room(micro_batch=14, max_length=2048),
    })  # fmt: skip
    return replace(found, estimate=better)


FITS = [
    DeviceFit(name=GPU.name, here=True, total_bytes=GPU.total_bytes, free_bytes=GPU.free_bytes, need_bytes=3 * GIB,
              verdict="fits", seconds=424),
    DeviceFit(name=CPU.name, here=True, total_bytes=CPU.total_bytes, free_bytes=CPU.free_bytes, need_bytes=4 * GIB,
              verdict="fits", seconds=31_000),
    DeviceFit(name="NVIDIA H100 80GB", here=False, total_bytes=80 * GIB, free_bytes=80 * GIB, need_bytes=3 * GIB,
              verdict="fits", seconds=190),
    DeviceFit(name="NVIDIA T4", here=False, total_bytes=3 * GIB, free_bytes=3 * GIB, need_bytes=3 * GIB,
              verdict="does not fit", seconds=2100),
]  # fmt: skip


def plan() -> Plan:
    placed = PlannedPlacement(
        use="lora", version="1.0.0", where=WHERE, params={"rank": 8, "alpha": 16.0},
        sites=tuple(site.path for site in llama_sites()), trainable=2_442_240,
    )  # fmt: skip
    return Plan(
        task="sft", model_source="library:smollm2-135m-instruct", model_path=MODEL.path, model_fingerprint="ab",
        data_source="library:boolq", data_path=BOOLQ.path, data_fingerprint="cd", format="prompt-completion",
        columns=dict(BOOLQ.mapping), train_rows=15_742, eval_rows=200, split_seed=0, max_rows=None, max_length=512,
        placements=(placed,), train_head=False, trainable=2_442_240, total=136_957_248, device="cuda:0",
        device_name="NVIDIA GeForce RTX 4090",
        precision="bf16", micro_batch=8, accumulation=2, effective_batch=16, steps=60, tokens_per_step=2304,
        learning_rate=2e-4, weight_decay=0.0, schedule="cosine", warmup_steps=2, clip_norm=1.0, checkpointing=False,
        packing=False, eval_every=20, save_every=20, keep_checkpoints=2, early_stopping=None, seed=0,
        autos=(
            Auto(field="data.format", value="prompt-completion", reason="recognised by its columns"),
            Auto(field="train.precision", value="bf16",
                 reason="NVIDIA GeForce RTX 4090 computes bf16 natively; trainable tensors stay fp32"),
            Auto(field="train.micro_batch", value=8, reason="about 2.9 GiB of 21 GiB free"),
            Auto(field="train.learning_rate", value=2e-4, reason="the default of lora"),
            Auto(field="train.checkpointing", value=False, reason="the activations fit the memory"),
        ),
    )  # fmt: skip


class FakeBackend(Backend):
    """Everything a screen asks for; ``calls`` lists what it asked to be done."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.model_list = [MODEL, ENCODER]
        self.data_list = [BOOLQ, IMDB]
        self.method_list = [
            method("lora", "LoRA", "Adds a trainable low-rank product to chosen weight matrices; mergeable.",
                   LORA_SCHEMA, WHERE),
            method("bitfit", "BitFit", "Trains only the biases of the model.", BITFIT_SCHEMA, "kind == linear"),
        ]  # fmt: skip
        self.device_list = [CPU, GPU]
        self.problem_list: list[Problem] = []
        self.broken_list: list[StudioError] = []
        self.plugin_list: list[Any] = []
        self.reports: dict[str, Any] = {}
        self.answer: Callable[[Mapping[str, Any]], Check] = self.check_structure
        self.better: Callable[[Check], Check] = lambda found: found
        self.fits: list[DeviceFit] = list(FITS)
        self.probe_error: StudioError | None = None
        self.accuracy_found = Accuracy()
        self.held = 0
        self.draft: dict[str, Any] | None = None
        self.start_error: StudioError | None = None
        self.starter_steps: list[tuple[str, float | None]] = [("downloading the starter pack", 0.5)]
        self.starter_error: StudioError | None = None
        self.running: list[str] = []
        self.settings: Any = None
        self.token: str | None = None

    def has_token(self) -> bool:
        return self.token is not None

    def save_token(self, token: str | None) -> None:
        self.token = token

    def models(self) -> list[ModelFacts]:
        return list(self.model_list)

    def datasets(self) -> list[DataFacts]:
        return list(self.data_list)

    def methods(self) -> list[Any]:
        return list(self.method_list)

    def model_problems(self) -> list[Problem]:
        return list(self.problem_list)

    def dataset_problems(self) -> list[Problem]:
        return list(self.problem_list)

    def broken_methods(self) -> list[StudioError]:
        return list(self.broken_list)

    def devices(self) -> list[DeviceFacts]:
        return list(self.device_list)

    def sites(self, model_source: str) -> tuple[Site, ...]:
        return llama_sites()

    def data_facts(self, source: str) -> DataFacts:
        return next(facts for facts in self.data_list if source == f"library:{facts.name}")

    def count(
        self, model_source: str, method: str, params: Mapping[str, Any], where: str | None, budget: int | None = None
    ) -> Any:
        rank = int(params.get("rank", 8))
        if budget is not None:
            rank = budget // 305_280
        if rank < 1:
            raise InvalidSpecError([Problem("budget", "cannot be met: the smallest size already has 305,280", "")])
        if method == "bitfit":
            raise UserError("bitfit trains nothing where 'kind == linear'", where=MODEL.name)
        chosen = select(self.sites(model_source), where or WHERE)
        return SimpleNamespace(
            trainable=305_280 * rank, total=MODEL.params, fraction=305_280 * rank / MODEL.params, tensors=420,
            file_bytes=305_280 * rank * 4, optimizer_bytes=305_280 * rank * 8, params={"rank": rank},
            where=where or WHERE, sites=len(chosen), paths=tuple(site.path for site in chosen), extra_tokens=0,
        )  # fmt: skip

    def add_model(self, path: Path, *, progress: Any, cancelled: Any) -> ModelFacts:
        self.calls.append(("add_model", path))
        progress("copying", 1.0)
        added = MODEL.model_copy(update={"name": path.stem})
        self.model_list.append(added)
        return added

    def add_dataset(self, path: Path, *, progress: Any, cancelled: Any) -> DataFacts:
        self.calls.append(("add_dataset", path))
        progress("reading", 1.0)
        added = BOOLQ.model_copy(update={"name": path.stem})
        self.data_list.append(added)
        return added

    def check_structure(self, raw: Mapping[str, Any]) -> Check:
        """Structural problems as the real services find them, else a plan that fits."""
        problems: tuple[Problem, ...] = parse_spec(raw).problems
        return Check(problems) if problems else Check((), plan(), estimate(), GPU)

    def check(self, raw: Mapping[str, Any]) -> Check:
        self.calls.append(("check", raw))
        return self.answer(raw)

    def refine(self, raw: Mapping[str, Any]) -> Check:
        self.calls.append(("refine", raw))
        return self.better(self.answer(raw))

    def device_fits(self, raw: Mapping[str, Any]) -> list[DeviceFit]:
        self.calls.append(("device_fits", raw))
        return list(self.fits)

    endless_probe = False

    def probe(self, raw: Mapping[str, Any], *, progress: Any, cancelled: Any) -> None:
        self.calls.append(("probe", raw))
        while not cancelled() and self.endless_probe:
            progress("step 1 of 3", 0.33)
            time.sleep(0.01)
        if cancelled():
            raise Cancelled
        if self.probe_error is not None:
            raise self.probe_error

    def start_run(self, raw: Mapping[str, Any]) -> str:
        if self.start_error is not None:
            raise self.start_error
        self.calls.append(("start_run", raw))
        return "20261124-063100-run-4f2a"

    def quickstart_spec(self) -> dict[str, Any]:
        return {"name": "First run"}

    def starter_missing(self) -> bool:
        return True

    def fetch_starter(self, *, progress: Any, cancelled: Any) -> None:
        for phase, fraction in self.starter_steps:
            progress(phase, fraction)
        if self.starter_error is not None:
            raise self.starter_error
        self.calls.append(("fetch_starter", None))

    def load_draft(self) -> dict[str, Any] | None:
        return self.draft

    def save_draft(self, raw: Mapping[str, Any]) -> None:
        self.draft = dict(raw)

    def load_settings(self) -> Any:
        return self.settings if self.settings is not None else super().load_settings()

    def save_settings(self, settings: Any) -> None:
        self.settings = settings

    def active_runs(self) -> list[str]:
        return list(self.running)

    def stop_run(self, run_id: str) -> None:
        self.calls.append(("stop_run", run_id))

    # --- Run, Runs, Models, Data, Methods, Devices (appended by their owner) ----------------------------------

    def sample_device(self, device_id: str) -> DeviceSample:
        facts = next(device for device in self.device_list if device.id == device_id)
        gpu = facts.kind == "cuda"
        return DeviceSample(
            device=device_id, time=time.time(), used_bytes=facts.total_bytes - facts.free_bytes,
            free_bytes=facts.free_bytes, total_bytes=facts.total_bytes, utilization=0.42,
            power_w=310.0 if gpu else None, temperature_c=63.0 if gpu else None,
            processes=((4711, 2 * GIB),) if gpu else (),
        )  # fmt: skip

    def held_by_runs(self, device_id: str) -> int:
        return self.held if device_id != "cpu" else 0

    def accuracy(self) -> Accuracy:
        return self.accuracy_found

    def newest_run(self) -> str | None:
        return None

    def remove_model(self, name: str) -> None:
        self.calls.append(("remove_model", name))
        self.model_list = [facts for facts in self.model_list if facts.name != name]

    def download_model(self, repo: str, revision: str | None, *, progress: Any, cancelled: Any) -> ModelFacts:
        self.calls.append(("download_model", (repo, revision)))
        while not cancelled() and self.endless_download:
            progress("downloading model.safetensors", 0.4)
            time.sleep(0.01)
        if cancelled():
            raise Cancelled
        return self.add_model(Path(repo.split("/")[1]), progress=progress, cancelled=cancelled)

    endless_download = False

    def dataset_rows(self, name: str, start: int, stop: int) -> list[dict[str, Any]]:
        columns = self.data_facts(f"library:{name}").columns
        return [{column: f"{column} {row}" for column in columns} for row in range(start, stop)]

    def preview(
        self, name: str, format: str, mapping: Mapping[str, str], model: str, start: int, count: int
    ) -> list[PreviewRow]:
        facts = self.data_facts(f"library:{name}")
        problems = check_mapping(facts, format, mapping, facts.labels)
        if problems:
            raise InvalidSpecError(problems)
        tokens = 20 if model else None
        segments = (Segment("The passage.\nQuestion: is it so?\nAnswer:", False), Segment(" yes", True))
        return [PreviewRow(start + place, {}, segments, "", tokens, 2) for place in range(count)]

    def count_methods(
        self, model_source: str, methods: Sequence[str], budget: int | None, *, progress: Any, cancelled: Any
    ) -> list[Any]:
        self.calls.append(("count_methods", (model_source, budget)))
        return [self._counted(model_source, name, budget) for name in methods]

    def _counted(self, model_source: str, name: str, budget: int | None) -> Any:
        try:
            count = self.count(model_source, name, {}, None, budget)
        except StudioError as error:
            known = isinstance(error, InvalidSpecError)
            problem = error.problems[0].message if isinstance(error, InvalidSpecError) else error.message
            return SimpleNamespace(method=name, count=None, problem=problem, works=known)
        return SimpleNamespace(method=name, count=count, problem="", works=True)

    def plugins(self) -> list[Any]:
        return list(self.plugin_list)

    def plugin_report(self, plugin_id: str) -> Any:
        return self.reports.get(plugin_id)

    def plugin_log(self, plugin_id: str) -> str:
        return f"{plugin_id} says <b>hello</b>"
