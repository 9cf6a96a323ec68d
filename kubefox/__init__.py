"""The nouns of the platform, as immutable values: no I/O, no clock, no randomness."""
