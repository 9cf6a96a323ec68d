"""The route to a control API in a cluster: a tunnel to a ready pod of control."""

from __future__ import annotations

from fox.cli.support.control_client import ControlClient
from fox.cli.support.control_pod import ControlPod, find_control
from fox.cli.support.given_token import GivenToken
from fox.cli.support.kubectl import KubeTarget
from fox.cli.support.route import Endpoint
from fox.cli.support.tunnel import ADDRESS, Tunnel, open_tunnel

_CREATE_TOKEN = ("--", "fox", "token", "create", "NAME", "--role", "admin")


class KubeRoute:
    """Leads to a ready pod of control, and to another one when its tunnel has ended.

    Args:
        target: Where the platform runs.
        timeout_s: Longest time for each answer of the cluster.

    Attributes:
        fault: Why the last tunnel has ended, as kubectl says.
    """

    def __init__(self, target: KubeTarget, timeout_s: float) -> None:
        self.fault = ""
        self._target = target
        self._timeout_s = timeout_s
        self._pod: ControlPod | None = None
        self._tunnel: Tunnel | None = None

    def endpoint(self) -> Endpoint:
        """Return the end of a tunnel; see ``Route``.

        Raises:
            InvalidRequest: kubectl or the namespace is missing.
            NotAuthorized: Kubernetes does not allow to list pods or to forward a port.
            NoPlatform: No pod of control is ready, or the cluster cannot be asked.
        """
        if self._tunnel is None or self._pod is None or not self._tunnel.is_open:
            self.renew()
            self._pod = find_control(self._target, self._timeout_s)
            self._tunnel = open_tunnel(
                self._target, self._pod.name, self._pod.port, self._timeout_s
            )
        pod = self._pod
        return Endpoint(
            url=pod.url,
            place=f"{pod.url} in pod {pod.name} in {self._target}",
            entrance=(ADDRESS, self._tunnel.port),
            arrival=(pod.address, pod.port),
            token_command=" ".join(self._target.command("exec", pod.name, *_CREATE_TOKEN)),
        )

    def renew(self) -> None:
        """End the tunnel; the next request makes another one."""
        if self._tunnel is not None:
            self._tunnel.close()
            self.fault = self._tunnel.said
            self._tunnel = None


def cluster_client(target: KubeTarget, token: GivenToken | None, timeout_s: float) -> ControlClient:
    """Return a client of the control API in a cluster; the tunnel is open.

    Args:
        target: Where the platform runs.
        token: Of that platform; None for none.
        timeout_s: Longest time for each answer of the cluster.

    Raises:
        FoxError: See ``KubeRoute.endpoint``.
    """
    route = KubeRoute(target, timeout_s)
    return ControlClient(route.endpoint().url, token=token, route=route)
