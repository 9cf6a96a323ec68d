"""The connection to NATS: requests, subscriptions, JetStream buckets, watches and leases."""
