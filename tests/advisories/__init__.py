"""Published advisories of registries and their clients, and what protects this registry.

Each row names the protection, how it is removed, and the tests that then fail. `python -m
tests.advisories` removes each of them from a copy of the project and runs those tests.
"""
