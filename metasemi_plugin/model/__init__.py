"""A trained net and what it takes to use it: a folder that needs neither the data nor semilearn."""
