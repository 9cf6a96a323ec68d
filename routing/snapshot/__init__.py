"""The control plane's records at one version, and the indexes routing reads."""
