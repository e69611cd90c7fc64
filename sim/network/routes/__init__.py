"""How the cluster learns where pods are: one file a mechanism, and `spread.py`, which keeps it during a run."""
