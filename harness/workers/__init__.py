"""What runs tasks: processes of this machine, or the nodes of a cluster."""
