"""Storage in JetStream: the control plane's data, bundles, pod statuses and state buckets."""
