"""What tests of several rooms need: a real nats-server, a guard against blocking calls."""
