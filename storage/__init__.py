"""Object stores and coordination: ports, drivers, and the contract suites that bind them."""
