"""The frame of the verbs about the audit trail; they register themselves."""

from __future__ import annotations

from cyclopts import App

from flows.app import app

audit_app = App(name="audit", help="The audit trail: look at it, prove it, check it.")
app.command(audit_app)
