"""What the cluster holds: API objects and tables of columns. No clock, no pydantic."""
