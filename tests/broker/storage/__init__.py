"""Tests of broker.storage."""
