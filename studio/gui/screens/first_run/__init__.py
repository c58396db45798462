"""Welcome: one button from nothing to a training run."""
