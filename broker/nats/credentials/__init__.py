"""Credentials of NATS: keys, signed claims, and the permissions of each process."""
