"""Other runtimes than torch: the network is exported to ONNX and read by each."""
