"""Configuration: how an option is declared, and what YAML files say. Knows nothing of semilearn."""
