"""The ResNet itself, its architectures, its initialisation and the names of its parameters in torchvision."""
