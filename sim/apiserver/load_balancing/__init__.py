"""How a load balancer in front of several API servers spreads connections; one policy a file."""
