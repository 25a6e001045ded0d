"""Who may ask the HTTP port, and what a browser may do with its answers.

A page of another site must not reach it: not by a form or script of that site (CSRF), and not by a name of that site
that suddenly means this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LOOPBACK_NAMES = frozenset({"localhost", "localhost."})
_OPEN_TO_ALL = "/health"


def guard(names: Collection[str]) -> Middleware:
    """Refuses, but for what begins with /health: a Host that is neither an address, nor localhost, nor one of ``names``
    (a rebound name is none of these); what another origin asks for; and a POST that does not say it is of this one."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(_OPEN_TO_ALL):
            refusal = _refusal(request, names)
            if refusal is not None:
                return refuse(403, refusal)
        return await handler(request)

    return check


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: what every answer tells browsers."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def refuse(status: int, reason: str, **more: object) -> web.Response:
    return web.json_response({"error": reason} | more, status=status, dumps=_dumps)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refusal(request: web.Request, names: Collection[str]) -> str | None:
    """The rule that the request breaks."""
    host = request.headers.get("Host", "")
    if not _may_name(_host_name(host), names):
        return f"the host {host!r} is not this gateway's: ask by address, or let the gateway know it by --http-host"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return f"the origin {origin!r} is not this gateway's"
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return "a page of another site may not ask this gateway"
    if request.method not in ("GET", "HEAD") and origin is None:
        return "only this gateway's own pages may change anything: there is no Origin header"
    return None


def _may_name(name: str, names: Collection[str]) -> bool:
    if name in _LOOPBACK_NAMES or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_name(host: str) -> str:
    """Without its port, in lower case."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
