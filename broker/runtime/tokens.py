"""Tokens that nobody can guess: the ends of subjects to which everybody may publish."""

from __future__ import annotations

import os

TOKEN_DIGITS = 16
"""Hex digits of a token: 64 random bits."""
_TOKENS_A_BLOCK = 256


class Tokens:
    """Makes tokens, from blocks of random bytes: a system call for each would take 0.5 µs."""

    def __init__(self) -> None:
        self._block: list[str] = []

    def new(self) -> str:
        """Return a new token."""
        try:
            return self._block.pop()
        except IndexError:
            digits = os.urandom(TOKEN_DIGITS // 2 * _TOKENS_A_BLOCK).hex()
            self._block.extend(
                digits[start : start + TOKEN_DIGITS]
                for start in range(0, len(digits), TOKEN_DIGITS)
            )
            return self._block.pop()

    def forget(self) -> None:
        """Drop the tokens of the block: a forked process must not use the same ones."""
        self._block.clear()


_of_process = Tokens()
new_token = _of_process.new
os.register_at_fork(after_in_child=_of_process.forget)
