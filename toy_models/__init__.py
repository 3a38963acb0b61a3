"""Make small models: a transformer that reads top to bottom, tasks with a known optimal loss, training."""
