"""Several processes that train one run: what they say to each other, and how they meet."""
