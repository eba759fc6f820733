"""The command line: options in, library calls, text out."""
