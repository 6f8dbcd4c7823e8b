"""Scrub: reads what is stored again, and sees whether it still is what its digest says."""
