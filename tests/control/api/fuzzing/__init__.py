"""The configuration of the fuzzer of the control API."""
