"""The last step of a run: sign the audit log and have it kept outside, whatever becomes of that.

A failing anchor or key never fails a night; it is told, and the events stay not yet anchored until the next
signature. Knows nothing about how the log is signed.
"""

from __future__ import annotations

from fwd2bot_core.errors import Fwd2BotError, IntegrityError
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from tasks.summary import Anchored


def sign(house: Installation, *, reason: str, role: str) -> Anchored:
    """What came of it; ``reason`` and ``role`` as of ``sign_checkpoint``. Never raises an ``Exception``."""
    try:
        signed = sign_checkpoint(house, reason=reason, role=role)
    except IntegrityError as error:
        return Anchored(problem=str(error), contradiction=True)
    except Fwd2BotError as error:
        return Anchored(problem=str(error))
    except Exception as error:
        return Anchored(problem=f"unexpected, and our fault: {type(error).__name__}: {error}")
    return Anchored(signed=signed.size, anchors=list(signed.anchored), failed=signed.failed)
