"""What differs between families of image-text-to-text models: how they see, and what they need beside tokens."""
