"""Moorage: the OCI registry API, its services and its command line."""
