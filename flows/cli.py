"""The ``fwd2bot`` command. Exit codes are ``fwd2bot_core.errors.ExitCode``; errors are one sentence."""

from __future__ import annotations

import io
import os
import sys

from cyclopts import CycloptsError

import flows.asking
import flows.audit
import flows.audit_checkpoint
import flows.audit_keys
import flows.audit_looking
import flows.audit_states
import flows.backfilling
import flows.deploy
import flows.destroying
import flows.disposition
import flows.edge
import flows.erasure
import flows.holds
import flows.judging
import flows.kpi
import flows.looking
import flows.moments
import flows.people
import flows.policy_life
import flows.retaining
import flows.running
import flows.searching
import flows.serving
import flows.tokens  # noqa: F401  (importing registers the verbs)
from flows.app import app, config_app
from flows.audit_app import audit_app
from flows.cluster import cluster_app
from flows.compressor import compressor_app
from flows.policy import policy_app
from fwd2bot_core.errors import ExitCode, Fwd2BotError
from tasks.units import visible

__all__ = ["app", "audit_app", "cluster_app", "compressor_app", "config_app", "main", "policy_app"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; errors are one sentence, never a traceback."""
    _print_whatever_comes()
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        sys.exit(ExitCode.USAGE)  # cyclopts has printed what is wrong
    except Fwd2BotError as error:
        print(f"fwd2bot: {visible(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("fwd2bot: interrupted; what was committed stays, run again to go on", file=sys.stderr)
        sys.exit(ExitCode.FAILED)
    except BrokenPipeError:
        sys.exit(ExitCode.FAILED)
    except Exception as error:
        if os.environ.get("FWD2BOT_DEBUG"):
            raise
        print(
            f"fwd2bot: unexpected, and our fault: {type(error).__name__}: {visible(str(error)[:500])}. What was "
            "committed stays; FWD2BOT_DEBUG=1 shows the traceback, which we would like to see",
            file=sys.stderr,
        )
        sys.exit(ExitCode.FAILED)
    sys.exit(int(code or 0))


def _print_whatever_comes() -> None:
    """A terminal that lacks a character gets its number instead of a failed command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
