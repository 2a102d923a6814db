"""The audit verbs that show and rotate keys, run a witness."""

from __future__ import annotations
