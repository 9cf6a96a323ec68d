"""The limits of the platform, with the values that the code has."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from adapters.events.retry import MAX_AGE_S
from adapters.http import trust
from adapters.http.limits import HttpLimits
from broker.dispatch import receiving
from broker.events import dead_letters, deliveries, outbox
from broker.storage import records_bucket
from control.api import request_decoding
from control.listing import kept_views, list_kind, page
from docs.generator.markdown import check_complete, code, fields, table
from docs.generator.types import default_text
from fox.source import app, tree, yaml_text
from kubefox import (
    bounded_history,
    bundle,
    delivery,
    environment,
    formats,
    release,
    rollout,
    share,
    state_store,
    stream,
)
from routing import request_text, resolver, validate
from routing.language import facts, paths, regex, rule, template


def http() -> str:
    """Return one row for each limit and timeout of the HTTP adapter."""
    described = fields(HttpLimits.__doc__)
    infos = msgspec.structs.fields(HttpLimits)
    check_complete("HTTP limits", (info.name for info in infos), described)
    rows = [(code(info.name), default_text(info), described[info.name]) for info in infos]
    return table(["Limit", "Value", "Meaning"], rows)


def others() -> str:
    """Return one row for each limit outside the HTTP adapter."""
    rows = [
        ("events in flight in a pod", f"{receiving.MAX_IN_FLIGHT:,}"),
        (
            "emitted events of one deployment and virtual environment that wait in a process",
            f"{deliveries.MAX_HELD:,}",
        ),
        ("their size, with those in flight", _size(deliveries.MAX_BYTES)),
        ("emitted events that a process puts back", f"{deliveries.POSTPONED_PER_S:g} a second"),
        ("waiting emitted events, together", _size(outbox.MAX_STREAM_BYTES)),
        ("dead letters, together", _size(dead_letters.MAX_STREAM_BYTES)),
        ("age of a dead letter", f"{dead_letters.MAX_AGE_S / 86_400:g} days"),
        ("one emitted event, head included", _size(outbox.MAX_EVENT_BYTES)),
        ("time limit of an attempt, set by `emit`", f"{delivery.MAX_TIMEOUT_S / 3_600:g} h"),
        ("delay of an emitted event", f"{delivery.MAX_DELAY_S / 86_400:g} days"),
        ("age of an emitted event that waits, from its time on", f"{MAX_AGE_S / 86_400:g} days"),
        ("value in the state store", _size(state_store.MAX_VALUE_BYTES)),
        ("key in the state store", _size(state_store.MAX_KEY_BYTES)),
        ("body in the frame of its event; a larger one is a stream", _size(stream.INLINE_BYTES)),
        ("window of a stream", _size(stream.WINDOW_BYTES)),
        ("a file of a component", _size(tree.MAX_FILE_BYTES)),
        ("files of a component together, unpacked", _size(bundle.MAX_BYTES)),
        ("files of a component", f"{bundle.MAX_FILES:,}"),
        ("files of all components of an app together", _size(app.MAX_APP_BYTES)),
        ("characters of a YAML file", f"{yaml_text.MAX_CHARACTERS:,}"),
        ("values in a YAML file", f"{yaml_text.MAX_VALUES:,}"),
        ("levels of values in a YAML file", f"{yaml_text.MAX_DEPTH}"),
        (
            "explanations for a trusted client",
            f"{trust.EXPLANATIONS_PER_S} a second, {trust.EXPLANATIONS_AT_ONCE} at once",
        ),
        (
            "traces that a trusted client asks for",
            f"{trust.TRACES_PER_S} a second, {trust.TRACES_AT_ONCE} at once",
        ),
        *_of_histories(),
        *_of_rules(),
        *_of_the_control_api(),
    ]
    return table(["Limit", "Value"], rows)


def _of_histories() -> Iterator[tuple[str, str]]:
    size = _size(bounded_history.MAX_HISTORY_BYTES)
    yield "earlier generations of a deployment", f"{rollout.HISTORY_LIMIT}"
    yield "their size as JSON; the newest one stays", size
    yield "archived releases of a virtual environment, as JSON; the newest one stays", size
    revisions = _size(records_bucket.MAX_REVISIONS_BYTES)
    yield "all revisions of a release or rollout in the bucket", revisions


def _of_rules() -> Iterator[tuple[str, str]]:
    yield "length of a rule", f"{rule.MAX_LENGTH:,} characters"
    yield "segments of a path, or labels of a host, in a rule", f"{paths.MAX_SEGMENTS:,}"
    yield "predicates in a rule", f"{rule.MAX_PREDICATES:,}"
    yield "routes of a deployment", f"{validate.MAX_ROUTES:,}"
    yield "regular expression", f"{regex.MAX_LENGTH:,} characters"
    yield "regular expression, compiled by RE2", f"{regex.MAX_INSTRUCTIONS:,} instructions"
    work = f"{facts.MAX_MATCH_WORK:,} bytes of text × instructions"
    of_request = (
        "regular expressions that one request is matched with; for a plain URL, of a release"
    )
    yield of_request, work
    expensive = f"the same, of all releases that need more than {resolver.CHEAP_WORK:,} each"
    yield expensive, f"{resolver.MAX_EXPENSIVE_WORK:,} bytes of text × instructions"
    yield "segments of a path", f"{request_text.MAX_SEGMENTS:,}"
    pairs = f"{request_text.MAX_PAIRS:,}"
    yield "query parameters, where a rule or selector reads them", pairs
    yield "cookies of a request that selects by cookie or header", pairs
    # A list that stands alone as a path segment, host or value makes no alternatives.
    combined = (
        "alternatives that lists of values make with other text, in all rules of a deployment"
    )
    yield combined, f"{template.MAX_ALTERNATIVES:,}"


def _of_the_control_api() -> Iterator[tuple[str, str]]:
    yield "components of a deployment", f"{formats.MAX_COMPONENTS:,}"
    yield "apps of a release", f"{release.MAX_APPS:,}"
    yield "headers that an HTTP adapter adds", f"{environment.MAX_HEADERS:,}"
    yield "entries of any other list or mapping in a body", f"{formats.MAX_ENTRIES:,}"
    yield "shares at once", f"{share.MAX_SHARES:,}"
    yield "time for which a share is valid", f"{share.MAX_TTL_S // 86_400} days"
    yield "JSON body of the control API", _size(request_decoding.MAX_JSON_BYTES)
    yield "objects on a page of a list, without `limit`", f"{list_kind.DEFAULT_LIMIT:,}"
    yield "objects on a page of a list", f"{list_kind.MAX_LIMIT:,}"
    yield "JSON of a page of a list", _size(page.MAX_PAGE_BYTES)
    yield "lists that are kept for further pages", f"{kept_views.MAX_KEPT:,}"
    yield "time for which they are kept after their last page", f"{kept_views.KEPT_S:g} s"
    yield (
        "values in a JSON body, counted by commas and braces",
        f"{request_decoding.MAX_JSON_VALUES:,}",
    )


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
