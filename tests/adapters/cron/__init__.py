"""Tests of adapters.cron."""
