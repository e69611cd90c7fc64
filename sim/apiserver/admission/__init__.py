"""Admission: what the API server changes in new objects, and what it refuses; one file a plug-in, in the server's order."""
