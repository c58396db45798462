"""The torch side: build a model, place methods, train, evaluate, save."""

import logging

# On CPUs with instructions for bf16, bitsandbytes warns at import that kernels are missing, which nothing here calls.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
