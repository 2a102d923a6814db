"""The nano bundle's method against its rivals and without its parts: ``python -m tests.prove.rivals``."""
