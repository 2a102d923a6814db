"""The audit verbs that verify and sign."""

from __future__ import annotations
