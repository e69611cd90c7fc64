"""Admission plug-ins, one file each."""
