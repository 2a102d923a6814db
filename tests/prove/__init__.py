"""Proofs that are too long for the test command; each is one command and leaves evidence in docs/evidence."""
