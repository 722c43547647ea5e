"""The peak FLOP/s and memory bandwidth of this machine, measured."""
