"""One module for each subcommand of ``clsa-classify``: its help, its arguments, and what it starts."""
