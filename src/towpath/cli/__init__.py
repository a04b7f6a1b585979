"""The command line: one module per noun, no logic. Modules import late, so that `towpath --help` is immediate."""
