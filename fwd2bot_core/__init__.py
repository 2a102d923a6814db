"""What Fwd2Bot means: images, summary tokens, audit facts.

Knows nothing about where it runs: no Prefect, Dask, SQLAlchemy or object-store client is imported
below this package (``import-linter`` keeps it so).
"""

__version__ = "0.1.0"
