"""The speed benches at the size of a real model on a CUDA device; see README.md beside this file."""
