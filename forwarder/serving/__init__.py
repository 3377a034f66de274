"""The client's side: the doors, and the recipe by which a query gets its response."""
