"""The commands: options, messages and exit codes; the work is done elsewhere."""
