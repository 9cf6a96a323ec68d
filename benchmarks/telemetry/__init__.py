"""The cost of telemetry for a request."""
