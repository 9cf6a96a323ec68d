"""The HTTP adapter: requests in, responses out."""
