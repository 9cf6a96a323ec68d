"""``--kube-context`` and ``--kube-namespace``: the platform that runs in a cluster.

Both stand before the command, as in ``fox --kube-context NAME status``, or among its options.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import typer
import typer.core

CONTEXT_OPTION = "--kube-context"
CONTEXT_VARIABLE = "FOX_KUBE_CONTEXT"
NAMESPACE_OPTION = "--kube-namespace"
NAMESPACE_VARIABLE = "FOX_KUBE_NAMESPACE"
DEFAULT_NAMESPACE = "kubefox"
# Other options that name a platform, by the names of their parameters.
_OTHERS = {"control_url": "--control-url", "data_dir": "--data-dir"}
_URL_VARIABLE = "FOX_CONTROL_URL"


class Given(NamedTuple):
    """A value, and whether an option has it; otherwise a variable has."""

    value: str
    is_option: bool


def add_kube_options(command: Any) -> None:
    """Give the options to a command that talks to the control API, and to its subcommands."""
    for subcommand in getattr(command, "commands", {}).values():
        add_kube_options(subcommand)
    if _has_control_url(command):
        command.params += kube_options()


def can_use(command: Any) -> bool:
    """Return whether a command, or one of its subcommands, talks to the control API."""
    return _has_control_url(command) or any(map(can_use, getattr(command, "commands", {}).values()))


def kube_options() -> list[typer.core.TyperOption]:
    """Return the two options, for the parameters of a command."""
    return [
        typer.core.TyperOption(
            param_decls=[CONTEXT_OPTION],
            type=str,
            envvar=CONTEXT_VARIABLE,
            metavar="NAME",
            help="Context of the kubeconfig whose cluster runs the platform; kubectl reaches it.",
            show_envvar=True,
            show_default=False,
            expose_value=False,
            callback=_keep,
            autocompletion=_complete_context,
        ),
        typer.core.TyperOption(
            param_decls=[NAMESPACE_OPTION],
            type=str,
            envvar=NAMESPACE_VARIABLE,
            metavar="NAME",
            help="Namespace of the platform in that cluster.",
            show_envvar=True,
            show_default="that of the context, or kubefox",
            expose_value=False,
            callback=_keep,
        ),
    ]


def given_context() -> Given | None:
    """Return the context that an option or variable names, whether it is used or not."""
    return _given.get().get(CONTEXT_OPTION)


def chosen_target() -> Any:
    """Return the ``KubeTarget`` to reach; None if another option or variable names the platform.

    Raises:
        BadParameter: Several platforms are named, or a namespace without a context.
        InvalidRequest: The kubeconfig has no such context, or kubectl cannot be run.
    """
    given = _given.get()
    context, namespace = given.get(CONTEXT_OPTION), given.get(NAMESPACE_OPTION)
    if context is None or not is_chosen(context, _others()):
        if namespace is not None and namespace.is_option:
            raise typer.BadParameter(f"{NAMESPACE_OPTION} needs {CONTEXT_OPTION} with it")
        return None
    kubectl = importlib.import_module("fox.cli.support.kubectl")
    # Also with a namespace: it checks the context.
    own = kubectl.namespace_of(context.value)
    return kubectl.KubeTarget(
        context.value, namespace.value if namespace else own or DEFAULT_NAMESPACE
    )


def is_chosen(context: Given, others: Mapping[str, Given]) -> bool:
    """Return whether the context names the platform: an option wins over a variable.

    Args:
        context: The context.
        others: Other options and variables that name a platform, by the options.

    Raises:
        BadParameter: Two options name a platform, or this variable and that of a URL.
    """
    for option, other in others.items():
        if context.is_option and other.is_option:
            raise typer.BadParameter(
                f"{CONTEXT_OPTION} and {option} both name a platform: expected one of them"
            )
        if other.is_option:
            return False
        if option == _OTHERS["control_url"] and not context.is_option:
            raise typer.BadParameter(
                f"{CONTEXT_VARIABLE} and {_URL_VARIABLE} are both set: unset one, or name the "
                f"platform with {CONTEXT_OPTION} or {option}"
            )
    return True


_given: ContextVar[dict[str, Given]] = ContextVar("_given", default={})  # noqa: B039 - not changed
_command: ContextVar[Any] = ContextVar("_command", default=None)


def forget() -> None:
    """Forget the options of an earlier command line of this process."""
    _given.set({})
    _command.set(None)


def _has_control_url(command: Any) -> bool:
    return any(param.name == "control_url" for param in command.params)


def _keep(context: Any, param: Any, value: str | None) -> None:
    """Keep what is given; an option of the command wins over one before the command."""
    _command.set(context)
    option = param.opts[0]
    if value is None:
        return
    source = context.get_parameter_source(param.name)
    is_option = source is not None and source.name == "COMMANDLINE"
    if is_option and not value:
        raise typer.BadParameter(f"{option} is empty: expected a name")
    before = _given.get().get(option)
    if is_option or before is None or not before.is_option:
        _given.set({**_given.get(), option: Given(value, is_option)})


def _others() -> dict[str, Given]:
    """Return the other options and variables of the command that name a platform."""
    context = _command.get()
    if context is None:
        return {}
    found: dict[str, Given] = {}
    for name, option in _OTHERS.items():
        value, source = context.params.get(name), context.get_parameter_source(name)
        if value and source is not None:
            found[option] = Given(str(value), source.name == "COMMANDLINE")
    return found


def _complete_context(_context: Any, _arguments: list[str], incomplete: str) -> list[str]:
    kubectl = importlib.import_module("fox.cli.support.kubectl")
    return [name for name in kubectl.context_names() if name.startswith(incomplete)]
