"""The component version that a process serves, and the variables that its events bring."""

from __future__ import annotations

import logging

import msgspec

from kubefox.component import Value
from kubefox.context import ComponentView, source_name
from kubefox.errors import NotDeclared, VariableMissing
from kubefox.senders import Sender

logger = logging.getLogger(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The component version that a process serves.

    Attributes:
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        pod: Id of the pod.
    """

    app: str
    component: str
    hash: str
    pod: str = ""

    @property
    def sender(self) -> Sender:
        """The version as the subjects of its messages name it."""
        return Sender(self.app, source_name(self.component, self.hash))


class Env(dict[str, Value]):
    """Values of the declared variables in the event's virtual environment.

    Args:
        view: The part of the event's context that the component may see.
        identity: The component version.
    """

    def __init__(self, view: ComponentView, identity: Identity) -> None:
        super().__init__(view.vars)
        self._view = view
        self._identity = identity

    def __missing__(self, name: str) -> Value:
        component, view = self._identity.component, self._view
        hop = source_name(component, self._identity.hash)
        if name not in view.missing_vars:
            raise NotDeclared(
                f"component {component} reads variable {name!r}, which it does not declare: "
                f"declare it with kit.env({name!r})",
                hop=hop,
            )
        error = VariableMissing(
            f"variable {name!r} of component {component} has no value in virtual environment "
            f"{view.virtual_environment}: set it there or in its environment, or give it a "
            f"default in kit.env({name!r})",
            hop=hop,
        )
        # The requester gets the error too, but a handler may catch it.
        logger.error("%s", error)
        raise error
