"""The operation on the audit log."""

from __future__ import annotations

from control.api.operation import ApiRequest, ApiServices, Operation
from control.listing.continue_token import ContinueToken, checksum, decode_token
from control.listing.list_kind import ListQuery, check_limit
from control.listing.page import EncodedPage, Page, encode_items, encode_page
from kubefox.audit import AuditRecord, Decision
from kubefox.errors import InvalidRequest, NotFound
from kubefox.formats import Label, UnixTime


class AuditQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the audit log.

    Attributes:
        sort: Not for the audit log: the newest record is the first.
        name_prefix: Only records whose ids begin with this.
        caller: Only requests of the caller of this name.
        operation: Only operations that contain this text, such as ``PUT /v1/deployments``.
        target: Only paths that contain this text.
        decision: Only requests with this outcome.
        since_s: Unix time in seconds; older records are left out.
    """

    caller: Label = ""
    operation: Label = ""
    target: Label = ""
    decision: Decision | None = None
    since_s: UnixTime = 0

    def selects(self, record: AuditRecord) -> bool:
        """Return whether a record is in the list."""
        return (
            record.id.startswith(self.name_prefix)
            and record.at_s >= self.since_s
            and self.caller in {"", record.caller}
            and self.operation in record.operation
            and self.target in record.target
            and self.decision in {None, record.decision}
        )


async def _list(services: ApiServices, request: ApiRequest) -> EncodedPage:
    query: AuditQuery = request.query
    check_limit(query.limit)
    if query.sort:
        raise InvalidRequest("the audit log has one order: the newest record is the first")
    query_sum = checksum("audit", query.filters, query.sort)
    token = decode_token(query.continue_, query_sum) if query.continue_ else None
    before = str(token.key[0]) if token and token.key else ""
    found = await services.audit.newest(before, query.limit + 1, query.selects)
    items = await encode_items(found[: query.limit])
    following = ""
    if len(items) < len(found):
        seen = len(items) + (token.seen if token else 0)
        key = (found[len(items) - 1].id,)
        following = ContinueToken(query=query_sum, revision=0, seen=seen, key=key).encode()
    return encode_page(Page(revision=0, continue_=following), items)


async def _get(services: ApiServices, request: ApiRequest) -> AuditRecord:
    wanted = request.path["id"]
    for record in await services.audit.newest("", 1, lambda record: record.id == wanted):
        return record
    raise NotFound(f"audit record {wanted} does not exist")


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/audit-records",
        summary="List the audit log of this control process, the newest record first",
        handle=_list,
        query=AuditQuery,
        result=Page[AuditRecord],
    ),
    Operation(
        method="GET",
        path="/v1/audit-records/{id}",
        summary="Get one record of the audit log",
        handle=_get,
        result=AuditRecord,
    ),
)
