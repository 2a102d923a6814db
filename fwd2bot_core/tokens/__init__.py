"""Summary tokens at rest: how they become bytes, files and a list of files."""
