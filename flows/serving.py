"""The verb that serves the console and the HTTP API until it is interrupted.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app
from flows.signing import say
from fwd2bot_core.errors import ExitCode, Fwd2BotError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.installation import Installation
    from infra.service_settings import ServiceSettings

MOST_CONNECTIONS = 2000  # beyond, a connection is answered with 503 before a request is read
BACKLOG = 2048
_log = logging.getLogger("fwd2bot.console")


@app.command
def console(
    *,
    port: Annotated[
        int | None,
        Parameter(help="Instead of service.port; 0: any free one.", validator=Number(gte=0, lte=65535)),
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """Serve the console for browsers and the API for programs, and tell the webhook of alerts, until Ctrl-C.

    Who comes in needs a token of `fwd2bot people token NAME`.

    Example: fwd2bot console --port 8484
    """
    import uvicorn

    from flows.console.app import make_app
    from infra.installation import opened

    settings = common.settings()
    service = settings.service
    if port is not None:
        service = service.model_copy(update={"port": port})
    with opened(settings) as house, _listening(service) as listener, _watching(house):
        house.ledger  # noqa: B018  (what is wrong with it is said now, not to the first visitor)
        server = uvicorn.Server(uvicorn.Config(make_app(house), **_options(service)))
        say(f"the console is at {_address(service, listener)}; Ctrl-C ends it")
        server.run(sockets=[listener])
    return ExitCode.OK


def _options(service: ServiceSettings) -> dict[str, Any]:
    _check_tls(service)
    return {
        "ssl_certfile": service.certificate,
        "ssl_keyfile": service.key,
        "proxy_headers": bool(service.proxies),
        "forwarded_allow_ips": list(service.proxies),
        "server_header": False,
        "access_log": False,  # addresses hold keys of images
        "limit_concurrency": MOST_CONNECTIONS,
        "timeout_keep_alive": 5,
        "timeout_graceful_shutdown": 10,
        "log_level": "warning",
        "lifespan": "off",
    }


def _check_tls(service: ServiceSettings) -> None:
    if service.certificate is None or service.key is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(service.certificate, service.key)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"service.certificate {service.certificate} and service.key {service.key} cannot be used: {error}"
        ) from None


@contextmanager
def _listening(service: ServiceSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    try:
        listener = socket.create_server((service.host, service.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"cannot listen at {service.host}, port {service.port}: {error.strerror}; name another with --port or "
            "service.host"
        ) from None
    with listener:
        yield listener


def _address(service: ServiceSettings, listener: socket.socket) -> str:
    host = f"[{service.host}]" if ":" in service.host else service.host
    scheme = "https" if service.certificate else "http"
    return f"{scheme}://{host}:{listener.getsockname()[1]}/"


@contextmanager
def _watching(house: Installation) -> Iterator[None]:
    """Look for alerts now and then, beside the visitors."""
    over = Event()
    watch = Thread(target=_watch, args=(house, over), name="alerts", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join(timeout=5)


def _watch(house: Installation, over: Event) -> None:
    from tasks.alerts import tell

    while not over.is_set():
        try:
            for alert in tell(house):
                _log.warning("%s", alert.message)
        except Fwd2BotError as error:
            _log.warning("alerts: %s", error)
        except Exception:
            _log.exception("alerts: unexpected, and our fault")
        over.wait(house.settings.service.alert_minutes * 60)
