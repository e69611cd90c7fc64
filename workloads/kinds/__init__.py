"""The workloads that a scenario may name, one file each; the catalog is `sim.workload.WORKLOADS`."""
