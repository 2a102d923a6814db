"""Turning an image into summary tokens with the model itself, and answering from them."""
