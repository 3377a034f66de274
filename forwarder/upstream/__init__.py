"""The servers we forward to: which of them, over what, and how a query finds its response."""
