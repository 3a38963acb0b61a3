"""What each `interp` command does: one module each, with `run(arguments) -> exit code`, loaded when it is called."""
