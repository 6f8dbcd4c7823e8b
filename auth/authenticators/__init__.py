"""Authenticators, one module for each kind of credentials."""
