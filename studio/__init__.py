"""PET Studio: parameter-efficient tuning of local models, foreseen, watched and kept."""

__version__ = "0.1.0"
