"""A question as a file: its grid of variants, its claims, and the plan that is frozen before anything runs."""
