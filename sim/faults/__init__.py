"""What breaks when: one file a fault."""
