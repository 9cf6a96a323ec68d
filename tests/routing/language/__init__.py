"""Tests of routing.language."""
