"""Training a compressor: both passes in one graph, both losses, on anybody's images and questions."""
