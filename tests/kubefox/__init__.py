"""Tests of kubefox."""
