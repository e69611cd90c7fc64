"""What the comparison with the real control plane leaves open."""

UNEXPLAINED: tuple[str, ...] = ()
