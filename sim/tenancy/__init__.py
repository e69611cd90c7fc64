"""Who shares the cluster: tenants, their users, what they do."""
