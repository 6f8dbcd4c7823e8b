"""The failure drill: an installation loses parts and is changed while clients are at work.

Described in docs/reference/drill.md.
"""
