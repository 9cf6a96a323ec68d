"""Adapters turn requests from outside into events, or serve components as dependencies."""
