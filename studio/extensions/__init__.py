"""Finding, reading and loading plugins; nothing of a plugin is imported until it is used."""
