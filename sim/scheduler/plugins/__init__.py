"""The scheduler's plugins, one file each: the rule, its kernel and its twin side by side."""
