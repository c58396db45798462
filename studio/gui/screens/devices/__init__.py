"""The Devices screen: what this machine can train on, live."""
