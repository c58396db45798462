"""New run: what to train, on what, how; with the forecast beside it."""
