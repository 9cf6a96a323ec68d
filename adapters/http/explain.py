"""The header ``kubefox-explain: 1``: the response explains how the request would be routed.

Only trusted clients get an explanation (``adapters.http.trust``); for all others the header has no
effect.
"""

from __future__ import annotations

import msgspec

from adapters.http.response import HttpResponse
from broker.runtime.cooperative import run_in_slices
from kubefox.selection import Access
from routing.explain import explain
from routing.request import GenesisRequest
from routing.selectors import Selectors
from routing.snapshot.snapshot import Snapshot


async def explanation_of(
    request: GenesisRequest, selectors: Selectors, snapshot: Snapshot, access: Access
) -> HttpResponse:
    """Return the explanation of a request as JSON."""
    explanation = await run_in_slices(explain(request, selectors, snapshot, access))
    return HttpResponse(
        200,
        "content-type: application/json\r\ncache-control: no-store\r\n",
        msgspec.json.encode(explanation),
    )
