"""How a request is done: plan, jobs, workers, the loop around them."""
