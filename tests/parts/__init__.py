"""All real parts on one machine without containers, as processes that outlive whoever starts them; `make up`."""
