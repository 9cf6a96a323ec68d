"""The only package that uses NATS: carries events, stores control-plane data, serves views."""
