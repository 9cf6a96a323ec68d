"""The control API, from its OpenAPI document: every operation, then every schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from control.api.openapi import document
from control.api.operations.all import OPERATIONS
from control.api.rights import right_of
from docs.generator.markdown import code, prose, summary, table
from kubefox import formats

_SCHEMAS = "#/components/schemas/"


def operations() -> str:
    """Return a section for each operation."""
    described = document(OPERATIONS, "")
    return "\n\n".join(
        "\n\n".join(_operation(method, path, operation))
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )


def rights() -> str:
    """Return one row for each operation: the role that it needs, and for what."""
    rows = [
        (
            code(operation.key),
            right.role.value if right.role else "none",
            right.scope,
            "yes" if right.is_change else "",
        )
        for operation in OPERATIONS
        for right in (right_of(operation),)
    ]
    return table(["Operation", "Role", "Needed", "In the audit log"], rows)


def schemas() -> str:
    """Return a section for each schema that the operations name."""
    named: dict[str, Any] = document(OPERATIONS, "")["components"]["schemas"]
    return "\n\n".join("\n\n".join(_schema(name, named[name])) for name in sorted(named))


def texts() -> str:
    """Return one row for each format of a text."""
    known = (each for each in vars(formats).values() if isinstance(each, formats.Format))
    rows = [
        (each.noun, code(each.pattern), f"{each.max_length:,}", each.expected)
        for each in known
        # A backtick would end the inline code of its row.
        if "`" not in each.pattern
    ]
    return table(["Text", "Pattern", "Characters at most", "In words"], rows)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield f"{operation['summary']}. {operation.get('description', 'Needs no token.')}"
    rows = [
        (
            code(parameter["name"]),
            parameter["in"],
            _type(parameter["schema"]),
            "required" if parameter.get("required") else _default(parameter["schema"]),
            prose(parameter.get("description", "")),
        )
        for parameter in operation["parameters"]
    ]
    if rows:
        yield table(["Parameter", "In", "Type", "Default", "Meaning"], rows)
    if "requestBody" in operation:
        yield f"Body: {_content(operation['requestBody']['content'])}."
    answer = operation["responses"].get("200")
    bodies = [_content(answer["content"])] if answer else []
    bodies += ["204, without a body"] if "204" in operation["responses"] else []
    yield f"Answer: {', or '.join(bodies)}."


def _content(content: dict[str, Any]) -> str:
    return " or ".join(
        f"{_type(described['schema'])} (`{media}`)" for media, described in content.items()
    )


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"(schema-{name})=\n### {_title(name)}"
    yield summary(schema.get("description"))
    if "enum" in schema:
        yield "One of " + ", ".join(code(value) for value in schema["enum"]) + "."
    required = schema.get("required", [])
    rows = [
        (
            code(field),
            _type(kind),
            "required" if field in required else _default(kind),
            prose(kind.get("description", "")),
        )
        for field, kind in schema.get("properties", {}).items()
    ]
    if rows:
        yield table(["Field", "Type", "Default", "Meaning"], rows)


def _type(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = reference.removeprefix(_SCHEMAS)
        return f"[{_title(name)}](#schema-{name})"
    if "anyOf" in schema:
        return " or ".join(_type(member) for member in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(code(value) for value in schema["enum"])
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"list of ({', '.join(_type(member) for member in schema['prefixItems'])})"
        case "array":
            most = _at_most(schema.get("maxItems"))
            return f"list of {_type(schema.get('items') or {})}{most}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            most = _at_most(schema.get("maxProperties"))
            return f"mapping of string to {_type(schema['additionalProperties'])}{most}"
        case "integer" | "number" as name:
            return f"{name}{_range(schema)}"
        case str(name):
            return "bytes" if schema.get("format") == "binary" else name
        case _:
            return "any value"


def _at_most(entries: int | None) -> str:
    return "" if entries is None else f", {entries:,} entries at most"


def _range(schema: dict[str, Any]) -> str:
    above, least, most = (
        schema.get(keyword) for keyword in ("exclusiveMinimum", "minimum", "maximum")
    )
    start = (
        f" above {above:,}"
        if above is not None
        else f" from {least:,}"
        if least is not None
        else ""
    )
    return start + (f" to {most:,}" if most is not None else "")


def _title(name: str) -> str:
    # msgspec spells Page[Stored[Deployment]] so that it fits into a reference.
    return name.strip("_").replace("_", " ") if name.endswith("_") else name


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    # Defaults of lists and objects follow from those of their fields.
    return (
        "" if default in (None, "") or isinstance(default, dict | list | tuple) else code(default)
    )
