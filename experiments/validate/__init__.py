"""Simulated against measured: one file a subject."""
