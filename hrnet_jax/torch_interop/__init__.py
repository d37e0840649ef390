"""Exchange with PyTorch: its weight files, conversion of weights, and the same networks written in PyTorch."""
