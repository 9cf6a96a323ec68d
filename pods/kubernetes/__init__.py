"""The driver ``kubernetes``: pods are pods of a Kubernetes cluster."""
