"""The demonstration compressor that ships: its pictures, its model's shape, its recipe and its bundle."""
