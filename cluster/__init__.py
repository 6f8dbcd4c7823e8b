"""A whole installation on one machine's loopback: replicas, balancer, MinIO, Redis and Sentinel.

`make cluster` runs it in the foreground; tests use it as a fixture (tests/fixtures/clusters.py)
and benchmarks as a class. Everything in it can be killed, stopped, frozen, cut off or slowed down.
"""
