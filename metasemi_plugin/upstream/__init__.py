"""Meta-Semi as a change to semilearn's own repository, generated from this package's modules.

`bundle` gathers definitions into one file, `specialise` leaves options out, `generate` makes the
new files, `tree` the edits to the files that are there, `fixes` three faults mended on their own.
"""
