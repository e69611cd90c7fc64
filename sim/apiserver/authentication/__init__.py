"""Who is asking: one file a method, and the union that asks them in the API server's order."""
