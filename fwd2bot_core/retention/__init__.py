"""When an original may go: periods, policies, facts, and a decision that names every reason.

Knows no database, no store and no clock of its own; what is not known always keeps the original.
"""
