"""The only owner of NATS: carries events, keeps the control plane's data, answers for contexts."""
