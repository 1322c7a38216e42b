"""How well the model of a run does, looked at more closely than by its error."""
