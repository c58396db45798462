"""The Methods screen: every tuning method, what it would train on a chosen model, and where it sits."""
