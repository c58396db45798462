"""A training step without its numbers: the engine itself on tensors that have shapes and no memory."""
