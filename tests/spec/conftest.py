"""Hypothesis without deadlines: a busy machine must not fail a property."""

from hypothesis import settings

settings.register_profile("spec", deadline=None)
settings.load_profile("spec")
