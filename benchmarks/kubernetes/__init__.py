"""Many component versions on a Kubernetes control plane with nodes that run nothing."""
