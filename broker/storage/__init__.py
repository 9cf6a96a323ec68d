"""Storage in JetStream: the control plane's data, bundles, pod statuses and state buckets."""

import broker.nats  # noqa: F401 - before nats-py, so that it does not load aiohttp
