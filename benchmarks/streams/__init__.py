"""The cost of streamed bodies: throughput, memory, and the latency of server-sent events."""
