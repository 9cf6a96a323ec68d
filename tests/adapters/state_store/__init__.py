"""Tests of adapters.state_store."""
