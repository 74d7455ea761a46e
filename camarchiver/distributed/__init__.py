"""Several machines archive one tree through Dask; it knows nothing of the command line."""
