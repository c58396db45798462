"""The processes that run the engine, started by the studio and independent of it."""
