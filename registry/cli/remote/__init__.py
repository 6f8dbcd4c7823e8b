"""Commands that speak the management API of a registry, over HTTP like any other client."""
