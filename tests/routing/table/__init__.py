"""Tests of routing.table."""
