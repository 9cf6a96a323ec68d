"""Settings of a process: one frozen struct, read once from ``FOX_…`` variables and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import msgspec

from kubefox.errors import InvalidRequest
from kubefox.selection import Selection

PREFIX = "FOX_"
MIB = 1 << 20
# Accepts one wrong letter in a short name, two or three in a long one.
_SIMILARITY = 0.85
_RENAMED = {"FOX_EXPLAIN_FROM": "FOX_HTTP_TRUSTED_NETWORKS"}

Network = IPv4Network | IPv6Network


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a process; field ``x_y`` is read from the variable ``FOX_X_Y``.

    The reference of the settings is generated from this text: one entry a field.

    Attributes:
        nats_url: URL of the NATS cluster to use; if empty, ``fox up`` starts an embedded server.
        nats_replicas: Copies that a NATS cluster keeps of each stream and bucket; 0 for as many as
            it has servers, up to three.
        nats_credentials: File with a key of the NATS account, which signs credentials for each
            process, or with the credentials of one user; not for the embedded server.
        insecure_nats: Whether a NATS server that lets anybody in is accepted, and pods may have all
            rights of the platform there.
        new_platform: Whether control begins a new platform on a NATS without records, although its
            data folder or running processes belong to a platform. For one start: NATS might lose
            its data later.
        data_dir: Folder for the data of the embedded server, unpacked bundles and the pods' logs.
        key_file: File with the keys that encrypt the platform's keys and secrets. If empty, it is
            ``key-encryption-keys`` in the data folder, and the control plane makes it at the first
            start of a platform. Every process of the platform but its pods needs it.
        key_command: Program that encrypts the platform's keys with a key management service, in
            place of the file; it is run with ``wrap`` or ``unwrap`` as its last argument. Keys that
            the file has encrypted before are opened with the file.
        http_host: Address that the HTTP adapter listens on.
        http_port: Port that the HTTP adapter listens on; 0 chooses a free port.
        http_tls_cert: File of the certificate of the HTTP adapter and of its chain, in PEM form;
            with it, clients must use ``https://``. It is read again when it changes.
        http_tls_key: File of the certificate's private key, in PEM form and without a password.
        http_workers: Number of processes of ``fox serve http``; they share the port.
        http_take_over: Whether ``fox serve http`` takes the port over from a running one.
        http_idle_grace_s: How long a stopping ``fox serve http`` keeps an idle connection open for
            one more request, in seconds, so that none is lost; 0 closes it at once.
        http_connections: Connections that an HTTP process has open at once; fewer if it may not
            open as many files. At this number, a new connection takes the place of an idle one.
        http_concurrency: Requests of one deployment in one virtual environment that are open at
            once in an HTTP process; all of them together have twice as many. Others are refused
            with 503 `overloaded`.
        http_streams: The same for streams, which take no places of requests.
        http_selection: What requests to the HTTP listener may select besides what is released:
            ``open`` allows all, ``signed`` what a share allows, ``released`` nothing. If empty, it
            is ``open`` for direct requests to a loopback address, and ``released`` for all others.
            The policy of a virtual environment may be stricter.
        http_trusted_networks: Networks whose clients may request an explanation with the header
            ``kubefox-explain: 1``, and a trace with ``kf-sample`` or a sampled ``traceparent``, in
            CIDR form, separated by commas. A request through an unknown proxy is not trusted.
        http_trusted_proxies: Networks of the proxies in front of the HTTP listener, in the same
            form. Their ``X-Forwarded-For`` names the client; nothing is ``open`` by default.
        http_trusted_hosts: Host names that trusted and direct requests may have, separated by
            commas, besides IP addresses, names without a dot, and names that nobody can register,
            such as ``shop.localhost`` and ``shop.test``.
        control_host: Address that the control API listens on.
        control_port: Port that the control API listens on; 0 chooses a free port.
        control_allowed_hosts: Host names by which clients may reach the control API, separated by
            commas, besides ``localhost`` and IP addresses. Requests with other names are refused.
        control_tls_cert: File of the certificate of the control API and of its chain, in PEM form;
            with it, clients must use ``https://``. It is read again when it changes. Without it,
            FOX_CONTROL_HOST must be a loopback address.
        control_tls_key: File of the certificate's private key, in PEM form and without a password.
        health_host: Address that a process listens on for probes.
        health_port: Port on which a process answers ``GET /healthz`` and ``GET /readyz``, for
            probes; 0 for none. ``fox serve http`` has it with one worker only.
        oidc_issuer: URL of an OIDC issuer whose tokens the control API accepts; empty for none.
        oidc_audience: Audience that these tokens must have; required with an issuer.
        oidc_claim: Claim that holds the user's groups, such as ``realm_access.roles``.
        oidc_roles: Roles of the groups: ``GROUP=ROLE[:APPS[:VIRTUAL_ENVIRONMENTS]]``, separated by
            semicolons. A group may be named several times; others have no role.
        audit_file_bytes: Size of a file of the audit log, in bytes; after that, a new one begins.
        audit_files: Number of files of the audit log, for changes and for refusals each; the oldest
            one is removed.
        audit_stdout: Whether control also writes each record of the audit log to standard output,
            as a line ``{"audit": {...}}``, for a log collector.
        pod_driver: Name of the installed driver that runs pods: ``local`` runs them as processes of
            this machine, ``kubernetes`` in a cluster.
        pod_image: Image of the pods in a cluster, with this version of the platform.
        pod_image_repositories: Registries, their folders and repositories, separated by commas,
            such as ``registry.example/team``: the images that components name must be there. If it
            is empty, components can name no image.
        pod_template: Further fields of the pods in a cluster, as a JSON object: ``nodeSelector``,
            ``tolerations``, ``affinity``, ``priorityClassName``, ``runtimeClassName``,
            ``schedulerName``, ``imagePullSecrets`` and ``imagePullPolicy``.
        custom_resources: Whether control applies the custom resources of a namespace in a cluster:
            that of the pod that it runs in, or of the context of ``KUBECONFIG``.
        pod_liveness_s: How long a pod's event loop may block, in seconds, before the pod is killed
            and restarted; 0 disables the check.
        pod_replica_liveness_s: The same while another pod serves the component version, if that is
            shorter; 0 makes no difference between both.
        pod_idle_s: How long a component version must be unused, in seconds, before its pods are
            stopped; the next event starts them again. 0 never stops them.
        pod_min_replicas: Number of pods that always run for each component version. With 0, one
            runs, and it may be stopped after FOX_POD_IDLE_S.
        pod_max_replicas: Largest number of pods of a component version; above the minimum, the
            number follows the load.
        pod_target_in_flight: Events in flight for which one pod of a component version is enough.
        pod_concurrency: Events of one deployment in one virtual environment that a pod handles at
            once; as many of its streams may be open. All of them together have twice as many.
        pod_max_wait_s: How long an event may wait in a pod for its turn, in seconds. An event that
            would wait for longer, or until after its deadline, is refused with 503 `overloaded`; 0
            refuses all that cannot begin at once.
        pod_env: Names of environment variables, separated by commas, that pods get from the
            platform's environment besides PATH, the language, the time zone and ``OTEL_…``.
        pod_memory_mib: Private memory of a pod, in MiB, and of each process that it starts, at
            least 64; 0 sets no limit.
        pod_hide_folders: Whether the data folder and the home folder of the platform's user are
            empty for pods, where the system allows it (Linux namespaces).
        pod_uids: User ids of the pods of a platform that root runs, such as ``61184-65519``: each
            running pod gets one of its own. If empty, pods run as the platform's user.
        pod_processes: Processes and threads of a pod, at least 64; 0 sets no limit. It has no
            effect on pods that run as root, or that have neither a user nor a user namespace.
        pod_open_files: Open files of a pod, and of each process that it starts, at least 64; 0
            sets no limit.
        rollout_deadline_s: How long a change of a deployment may take until all its pods are ready,
            in seconds; after that it has failed, and the deployment stays as it was.
        event_ttl_s: Time to live of a genesis event, in seconds: until then its response must
            begin, and the events that it causes end.
        hold_s: How long a request to a component whose pod restarts waits for it, in seconds,
            before it fails; with 0 it fails at once.
        emit_concurrency: Emitted events of one deployment in one virtual environment that a process
            delivers at once; all of them together have twice as many.
        emit_attempts: How often an emitted event is delivered before it becomes a dead letter.
        emit_retry_s: Pause after the first failed delivery of an emitted event, in seconds; each
            further pause is four times as long. Pauses vary by a quarter.
        emit_hung_s: How long the handler of an emitted event may run on after its time limit, in
            seconds; then its pod is considered hung and restarted.
        body_limit_bytes: Largest body, in bytes, that is held in memory; streams have no limit.
        body_memory_bytes: Memory, in bytes, for all bodies together that a process holds at once.
        body_timeout_s: How long a body that a handler takes whole may take to arrive, in seconds.
        client_min_bytes_per_s: Rate at which an HTTP client must send its body, and read its
            response, while data waits for that; 0 requires only that it does not pause for
            FOX_CLIENT_STALL_S.
        client_stall_s: How long an HTTP client may pause while data waits for it, or be behind the
            minimum rate, in seconds; then its request ends.
        stream_max_s: How long the body of a request or a response may take as a stream, in seconds;
            0 sets no limit.
        context_cache_bytes: Memory, in bytes, for the contexts that a process keeps: the routes of
            a deployment in a virtual environment where requests are routed, with an eighth of it
            besides for their data; views in each pod. A context takes about 2 KB of routes and 1 KB
            of views.
        stream_idle_s: How long a stream may go without progress, in seconds, before it breaks.
        drain_s: How long a shutdown waits for requests and events in flight, in seconds.
        telemetry: Whether events are counted and traced.
        trace_ratio: Share of genesis events that are traced, from 0 to 1; failed and slow ones
            always are.
        log_format: Format of the log lines: ``console`` or ``json``.
        log_level: Lowest level that is logged: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """

    nats_url: str = ""
    nats_replicas: int = 0
    nats_credentials: str = ""
    insecure_nats: bool = False
    new_platform: bool = False
    data_dir: Path = Path(".kubefox")
    key_file: str = ""
    key_command: str = ""
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    http_tls_cert: str = ""
    http_tls_key: str = ""
    http_workers: int = 1
    http_take_over: bool = False
    http_idle_grace_s: float = 5
    http_connections: int = 16_000
    http_concurrency: int = 4_000
    http_streams: int = 2_000
    http_selection: str = ""
    http_trusted_networks: str = "127.0.0.0/8,::1/128"
    http_trusted_proxies: str = ""
    http_trusted_hosts: str = ""
    control_host: str = "127.0.0.1"
    control_port: int = 8081
    control_allowed_hosts: str = ""
    control_tls_cert: str = ""
    control_tls_key: str = ""
    health_host: str = "127.0.0.1"
    health_port: int = 0
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_claim: str = "groups"
    oidc_roles: str = ""
    audit_file_bytes: int = 10 * MIB
    audit_files: int = 10
    audit_stdout: bool = False
    pod_driver: str = "local"
    pod_image: str = ""
    pod_image_repositories: str = ""
    pod_template: str = ""
    custom_resources: bool = False
    pod_liveness_s: float = 4
    pod_replica_liveness_s: float = 1
    pod_idle_s: float = 0
    pod_min_replicas: int = 0
    pod_max_replicas: int = 1
    pod_target_in_flight: float = 20
    pod_concurrency: int = 1_000
    pod_max_wait_s: float = 10
    pod_env: str = ""
    pod_memory_mib: int = 2048
    pod_hide_folders: bool = True
    pod_uids: str = ""
    pod_processes: int = 512
    pod_open_files: int = 4096
    rollout_deadline_s: float = 300
    event_ttl_s: float = 30
    hold_s: float = 5
    emit_concurrency: int = 256
    emit_attempts: int = 5
    emit_retry_s: float = 1
    emit_hung_s: float = 600
    body_limit_bytes: int = 5 * MIB
    body_memory_bytes: int = 256 * MIB
    body_timeout_s: float = 300
    client_min_bytes_per_s: float = 240
    client_stall_s: float = 60
    stream_max_s: float = 86_400
    context_cache_bytes: int = 256 * MIB
    stream_idle_s: float = 60
    drain_s: float = 30
    telemetry: bool = True
    trace_ratio: float = 0.01
    log_format: str = "console"
    log_level: str = "INFO"

    @property
    def control_names(self) -> tuple[str, ...]:
        """The host names in ``control_allowed_hosts``."""
        return _listed(self.control_allowed_hosts)

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """The host names in ``http_trusted_hosts``."""
        return _listed(self.http_trusted_hosts)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """The networks in ``http_trusted_networks``."""
        return _networks(self.http_trusted_networks)

    @property
    def trusted_proxies(self) -> tuple[Network, ...]:
        """The networks in ``http_trusted_proxies``."""
        return _networks(self.http_trusted_proxies)


def _listed(text: str) -> tuple[str, ...]:
    parts = (part.strip() for part in text.split(","))
    return tuple(part for part in parts if part)


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(network) for network in _listed(text))


def load(environ: Mapping[str, str], **flags: object) -> Settings:
    """Return the settings of this process.

    Args:
        environ: Environment of the process; variables without the prefix are ignored.
        flags: Options of the command line; None means not given. A flag wins over a variable.

    Raises:
        InvalidRequest: Values are not valid; the message names all of them.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    for field in msgspec.structs.fields(Settings):
        variable = PREFIX + field.name.upper()
        flag = flags.get(field.name)
        raw = environ.get(variable) if flag is None else flag
        if raw is None:
            continue
        try:
            values[field.name] = _convert(raw, field.type)
            _check(field.name, values[field.name])
            _check_text(field.name, values[field.name])
        except (msgspec.ValidationError, ValueError) as error:
            errors.append(f"{variable}={raw!r}: {error}")
    if errors:
        raise InvalidRequest("settings are not valid: " + "; ".join(errors))
    return Settings(**values)


def find_misspelled(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that look like a misspelled setting, each with the likely one.

    Other variables with the prefix are ignored: Kubernetes sets ``FOX_SERVICE_HOST`` and others for
    a service of that name.
    """
    known = [PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)]
    unknown = (name for name in environ if name.startswith(PREFIX) and name not in known)
    similar = {name: get_close_matches(name, known, 1, _SIMILARITY) for name in unknown}
    likely = {name: matches[0] for name, matches in similar.items() if matches}
    return likely | {old: new for old, new in _RENAMED.items() if old in environ}


def _convert(raw: object, kind: Any) -> object:
    if kind is Path:
        return Path(str(raw))
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        expected = next((text for known, text in _EXPECTED if known is kind), "")
        raise ValueError(f"expected {expected}" if expected else str(error)) from error


_EXPECTED = ((float, "a number"), (int, "a whole number"), (bool, "true or false"))


_SELECTIONS = tuple(policy.value for policy in Selection)
_LOG_FORMATS = ("console", "json")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
# Ports, and the copies that NATS allows.
_LARGEST = {"http_port": 65_535, "control_port": 65_535, "health_port": 65_535, "nats_replicas": 5}
_is_hosts = re.compile(r"[A-Za-z0-9._-]*(?:\s*,\s*[A-Za-z0-9._-]*)*").fullmatch
# A loaded machine may delay any process for a while, and a pod takes half a second to start.
_MIN_POD_S = 1
_ZERO_DISABLES = ("pod_liveness_s", "pod_replica_liveness_s", "pod_idle_s")
_MAY_BE_ZERO = (
    "hold_s",
    "pod_max_wait_s",
    "http_idle_grace_s",
    "pod_min_replicas",
    "client_min_bytes_per_s",
    "stream_max_s",
)
# Below these limits no pod starts.
_LEAST_LIMITS = {"pod_memory_mib": 64, "pod_open_files": 64, "pod_processes": 64}
_POSITIVE_SUFFIXES = (
    "_s",
    "_bytes",
    "_workers",
    "_attempts",
    "_max_replicas",
    "_in_flight",
    "_concurrency",
    "_connections",
    "audit_files",
    "_streams",
)


def _check(name: str, value: Any) -> None:
    if name in _LARGEST and not 0 <= value <= _LARGEST[name]:
        raise ValueError(f"expected a whole number from 0 to {_LARGEST[name]}")
    if name in _ZERO_DISABLES:
        if value != 0 and not _MIN_POD_S <= value < float("inf"):
            raise ValueError(f"expected 0, or a number of at least {_MIN_POD_S}")
    elif name in _LEAST_LIMITS:
        if value != 0 and value < _LEAST_LIMITS[name]:
            raise ValueError(f"expected 0, or a whole number of at least {_LEAST_LIMITS[name]}")
    elif name in _MAY_BE_ZERO:
        if not 0 <= value < float("inf"):
            raise ValueError("expected a number of at least 0")
    elif name.endswith(_POSITIVE_SUFFIXES) and not 0 < value < float("inf"):
        raise ValueError("expected a number above 0")
    if name.endswith("_ratio") and not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")


def _check_text(name: str, value: Any) -> None:
    if name == "log_format" and value not in _LOG_FORMATS:
        raise ValueError(f"expected one of {', '.join(_LOG_FORMATS)}")
    if name == "log_level" and value not in _LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(_LOG_LEVELS)}")
    if name == "http_selection" and value and value not in _SELECTIONS:
        raise ValueError(f"expected one of {', '.join(_SELECTIONS)}")
    if name in {"http_trusted_networks", "http_trusted_proxies"}:
        _networks(value)
    if name in {"control_allowed_hosts", "http_trusted_hosts"} and not _is_hosts(value):
        raise ValueError("expected host names separated by commas, without scheme, port and path")
