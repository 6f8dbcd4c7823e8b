"""The thesis's experiment: distinct images, pushed and pulled by more and more clients at a time.

Described in docs/reference/thesis.md.
"""
