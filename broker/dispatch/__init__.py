"""Sends genesis events to components, receives events, and answers requests for views."""
