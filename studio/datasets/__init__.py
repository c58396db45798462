"""Datasets: reading files, keeping them as numbered rows, and turning a row into tokens and a loss mask."""
