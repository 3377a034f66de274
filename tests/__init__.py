"""The proof: a test file for each module, and scenarios with real clients, servers and namespaces."""
