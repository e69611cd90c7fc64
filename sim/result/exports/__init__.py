"""A run in the file formats of the ecosystem: Prometheus, trace events, perf-tests' data items."""
