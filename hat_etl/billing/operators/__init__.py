"""The ways to an operator: what each can do, and what its answers mean."""
