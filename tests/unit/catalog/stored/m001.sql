BEGIN TRANSACTION;
CREATE TABLE curve_chunk (
    key INTEGER NOT NULL PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (key) ON DELETE CASCADE, metric TEXT NOT NULL,
    first_step REAL NOT NULL, last_step REAL NOT NULL, points INTEGER NOT NULL,
    steps BLOB NOT NULL, "values" BLOB NOT NULL
);
INSERT INTO "curve_chunk" VALUES(1,1,'loss',1.0,2.0,2,X'000000000000F03F0000000000000040',X'0000000000000040000000000000F03F');
CREATE TABLE document (
    run_id INTEGER NOT NULL PRIMARY KEY REFERENCES run (key) ON DELETE CASCADE,
    spec TEXT NOT NULL, plan TEXT NOT NULL, estimate TEXT NOT NULL, snapshot TEXT NOT NULL
);
INSERT INTO "document" VALUES(1,'{"version": 1, "name": "the first run", "task": "sft", "model": {"source": "library:m"}, "data": {"source": "library:d"}, "method": {"placements": [{"use": "lora"}]}}','{"trainable": 10, "steps": 2}','null','{"state": "completed", "reason": "", "phase": "", "progress": null, "step": 2, "started": 1.0, "updated": 3.0, "metrics": {"loss": {"last": 1.0, "min": 1.0, "max": 2.0, "step": 2}}, "device": null, "error": null, "measured": null, "evals": [], "samples": [], "notices": [], "checkpoints": [], "artifacts": []}');
CREATE TABLE metric_summary (
    run_id INTEGER NOT NULL REFERENCES run (key) ON DELETE CASCADE, name TEXT NOT NULL,
    last REAL, min REAL, max REAL, step INTEGER NOT NULL, PRIMARY KEY (run_id, name)
);
INSERT INTO "metric_summary" VALUES(1,'loss',1.0,1.0,2.0,2);
CREATE TABLE migration (name TEXT PRIMARY KEY, time REAL NOT NULL);
INSERT INTO "migration" VALUES('m001_runs_and_curves',1.79550388917781710623e+09);
CREATE TABLE run (
    key INTEGER NOT NULL PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    task TEXT NOT NULL, model TEXT NOT NULL, data TEXT NOT NULL, method TEXT NOT NULL,
    model_fingerprint TEXT NOT NULL, device TEXT NOT NULL, precision TEXT NOT NULL,
    trainable INTEGER, step INTEGER NOT NULL, steps INTEGER,
    created REAL NOT NULL, started REAL, updated REAL, ended REAL,
    eval_before REAL, eval_after REAL,
    seconds REAL, seconds_per_step REAL, tokens_per_second REAL, watt_hours REAL, peak_bytes INTEGER,
    predicted_bytes INTEGER, predicted_seconds_per_step REAL, predicted_watts REAL,
    error TEXT NOT NULL, parent TEXT, star INTEGER NOT NULL, notes TEXT NOT NULL, trashed REAL,
    log_offset INTEGER NOT NULL, log_bytes INTEGER NOT NULL
);
INSERT INTO "run" VALUES(1,'20260101-000000-first-aaaa','the first run','completed','sft','m','d','lora','','','',10,2,2,1767225600.0,1.0,3.0,3.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'',NULL,0,'a note',NULL,10,10);
CREATE TABLE tag (
    run_id INTEGER NOT NULL REFERENCES run (key) ON DELETE CASCADE, tag TEXT NOT NULL, PRIMARY KEY (run_id, tag)
);
INSERT INTO "tag" VALUES(1,'kept');
CREATE UNIQUE INDEX run_id ON run (id);
CREATE INDEX run_state ON run (state);
CREATE INDEX run_created ON run (created);
CREATE INDEX tag_tag ON tag (tag);
CREATE INDEX curve_chunk_run_metric ON curve_chunk (run_id, metric, first_step)
;
CREATE VIRTUAL TABLE run_search USING fts5(name, notes, tags, model, data, method, error, id);
INSERT INTO run_search (rowid, name, notes, tags, model, data, method, error, id) VALUES (1, 'the first run', 'a note', 'kept', 'm', 'd', 'lora', '', '20260101-000000-first-aaaa');
COMMIT;
