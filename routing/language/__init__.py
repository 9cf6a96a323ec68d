"""The rule language: text to predicates over the facts of a request."""
