"""The catalog's tables as they are today; `migrations` is how a file gets there."""

from typing import Any

from peewee import (
    AutoField,
    BlobField,
    BooleanField,
    CompositeKey,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
)

DATABASE = SqliteDatabase(
    None, pragmas={"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": "normal"}
)


class Table(Model):
    """Base of all tables."""

    class Meta:
        database = DATABASE
        legacy_table_names = False


class Run(Table):
    """What lists, sorts and filters need of a run; times are seconds since the epoch."""

    key = AutoField()
    id = TextField(unique=True)
    name = TextField()
    state = TextField(index=True)
    task = TextField(default="")
    model = TextField(default="")
    data = TextField(default="")
    method = TextField(default="")
    model_fingerprint = TextField(default="")
    device = TextField(default="")
    precision = TextField(default="")
    trainable = IntegerField(null=True)
    step = IntegerField(default=0)
    steps = IntegerField(null=True)
    created = FloatField(index=True)
    started = FloatField(null=True)
    updated = FloatField(null=True)
    ended = FloatField(null=True)
    eval_before = FloatField(null=True)
    eval_after = FloatField(null=True)
    seconds = FloatField(null=True)
    seconds_per_step = FloatField(null=True)
    tokens_per_second = FloatField(null=True)
    watt_hours = FloatField(null=True)
    peak_bytes = IntegerField(null=True)
    predicted_bytes = IntegerField(null=True)
    predicted_seconds_per_step = FloatField(null=True)
    predicted_watts = FloatField(null=True)
    basis = TextField(default="formula")
    driver = TextField(default="")
    torch = TextField(default="")
    unmetered_s = FloatField(default=0.0)
    shared = BooleanField(null=True)
    halved = BooleanField(default=False)
    error = TextField(default="")
    parent = TextField(null=True)
    star = BooleanField(default=False)
    notes = TextField(default="")
    trashed = FloatField(null=True)
    log_offset = IntegerField(default=0)
    log_bytes = IntegerField(default=0)


class Document(Table):
    """The run's whole spec, plan, estimate and folded events as JSON; apart, so that lists stay small."""

    run = ForeignKeyField(Run, primary_key=True, on_delete="CASCADE")
    spec = TextField(default="null")
    plan = TextField(default="null")
    estimate = TextField(default="null")
    snapshot = TextField(default="{}")


class Tag(Table):
    """One tag of one run."""

    run = ForeignKeyField(Run, on_delete="CASCADE", index=False)
    tag = TextField(index=True)

    class Meta:
        primary_key = CompositeKey("run", "tag")


class MetricSummary(Table):
    """Last, lowest and highest value of one metric; null where it never was finite."""

    run = ForeignKeyField(Run, on_delete="CASCADE", index=False)
    name = TextField()
    last = FloatField(null=True)
    min = FloatField(null=True)
    max = FloatField(null=True)
    step = IntegerField()

    class Meta:
        primary_key = CompositeKey("run", "name")


class CurveChunk(Table):
    """Consecutive points of one curve, packed as little-endian float64."""

    key = AutoField()
    run = ForeignKeyField(Run, on_delete="CASCADE", index=False)
    metric = TextField()
    first_step = FloatField()
    last_step = FloatField()
    points = IntegerField()
    steps = BlobField()
    values = BlobField()

    class Meta:
        indexes = ((("run", "metric", "first_step"), False),)


def tuples(query: Any) -> list[Any]:
    """The rows of a query as tuples (the stubs of peewee take them for models)."""
    return list(query.tuples())


def execute(statement: str, *values: Any) -> list[Any]:
    """The rows of one SQL statement that has no place in the query builder."""
    run: Any = DATABASE.execute_sql
    return list(run(statement, values).fetchall())


TABLES: tuple[type[Model], ...] = (Run, Document, Tag, MetricSummary, CurveChunk)
