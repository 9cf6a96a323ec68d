"""The custom resources of a cluster: applied to the platform, with a status that comes back."""
