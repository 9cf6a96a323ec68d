"""A node of the lab: it runs the containers of its pods as processes of this machine.

It stands in for a kubelet: it takes the pods that the scheduler gives its node, starts each
container's command, probes it, restarts it, reports its status, and ends it within its grace time.
All of 127.0.0.0/8 is this machine, so each pod has an address of its own.

It has no namespaces and limits, and its images are folders (``images``): a command runs with this
interpreter's programs, and the paths of its mounts are replaced by those of real folders in its
command, environment and probes. A mount over a folder that this machine has, such as ``/tmp``, is
that folder.
"""
