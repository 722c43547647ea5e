"""The commands of resnet-cli, a file each."""
