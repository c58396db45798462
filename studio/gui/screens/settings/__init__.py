"""Settings: appearance, energy, training defaults, folders."""
