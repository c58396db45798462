"""Data types and pure functions every other package may use; no torch, no Qt, no database."""
