"""Adapters turn the world outside into events, and answer for it."""
