"""Runs the official OCI Distribution conformance suite against a registry and keeps its report.

`python -m conformance --help` says how. The modules `server` and `relay` are plain enough to be
used by the tests too: one starts the registry as a process, the other stands between a client and
the registry, counts bytes and breaks connections on purpose.
"""
