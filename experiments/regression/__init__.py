"""Gates: a simulated service level that moves beyond its interval fails, and so does an exact counter that changes."""
