"""The kit: what a component is written with.

Example:
    >>> from fox import Context, Kit
    >>> kit = Kit(title="Hello")
    >>> @kit.route("Path(`/hello/{name}`)")
    ... async def hello(ctx: Context) -> str:
    ...     return f"Hello {ctx.params['name']}"
"""

from fox.kit.context import Context
from fox.kit.kit import Kit
from fox.kit.response import Response

__all__ = ["Context", "Kit", "Response"]
