"""Side-by-side benchmark: this registry, CNCF Distribution, nginx and any other registry."""
