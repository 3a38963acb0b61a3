"""Units and filters of the shelf's models: what they do, what drives them, what breaks without them."""
