"""The protocol core: grammar, values, errors and rules of OCI Distribution, with no I/O."""
