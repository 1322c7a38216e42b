"""How good a trained net is on labeled images, and how well it knows that."""
