"""How a cost grows with the number of previews: the exponent, by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the slope of log(cost) over log(size): 0 is flat, 1 is in proportion.

    Args:
        sizes: Different sizes, two at least.
        costs: Cost at each size; all above 0.

    Raises:
        ValueError: There are less than two sizes.
    """
    if len(set(sizes)) < 2:
        raise ValueError("an exponent needs two sizes at least")
    xs = [math.log(size) for size in sizes]
    ys = [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in xs)


def per_item(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the slope of cost over size by least squares: the cost of one more item."""
    mean_x, mean_y = sum(sizes) / len(sizes), sum(costs) / len(costs)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(sizes, costs, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in sizes)
