"""Ask questions of models: train them, audit them, write the report; the `interp` command line."""
