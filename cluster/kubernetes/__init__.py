"""Rendered manifests, run on one machine without a kubelet.

Each pod gets a network of its own on a bridge, and each of its containers a file system of its own:
the machine's, with the pod's volumes over it, read-only where the manifest says so. Commands,
arguments, environment, ports, probes, volumes, spread, rollouts and disruption budgets are those of
the manifests. What is left out: images (programs are those of this machine), users, resources
and network policies; a Service is a balancer that makes a connection to another pod where one
can't be made, and before one there may be an Ingress, HAProxy as in `cluster.balancer`; a pod of a
StatefulSet keeps its address, and its volume follows it to any node.

It needs root, and to be run in namespaces of its own: `unshare --net --mount python …`.
"""
