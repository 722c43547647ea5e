"""What a network costs: parameters, FLOPs and memory of every layer."""
