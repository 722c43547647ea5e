"""The inputs of a network: descriptions of their tensors, values for them, and errors about those that do not fit."""
