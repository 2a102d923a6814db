"""The frame of the verbs about disposition lists; they register themselves."""

from __future__ import annotations

from cyclopts import App

from flows.app import app

disposition_app = App(name="disposition", help="Disposition lists: look, approve, rescue, and carry one out.")
app.command(disposition_app)
