"""Where originals come from beside one file an object: within tar and zip files, from inventories, from events."""
