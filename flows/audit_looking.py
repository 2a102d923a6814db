"""The audit verbs that look at the log, prove one event, export evidence."""

from __future__ import annotations
