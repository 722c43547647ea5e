"""What is known about ATen operators: names, settings, cost, receptive field, shapes."""
