"""The cost of the NATS credentials of each process."""
