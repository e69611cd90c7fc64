"""kube-scheduler's rules: which node a pod lands on, and why not another. No clock in here but in loop.py."""
