"""Backups: made while clients push, restored, verified and removed.

They lie in a store of their own, as one OCI image layout (``layout``) with one ``pool`` of blobs.
"""
