"""The machine: processor, devices, control groups, clocks, library versions."""
