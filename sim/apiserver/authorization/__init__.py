"""Who may do what: one file an authorizer, and the union that asks them in the order of the scenario."""
