"""The billing loop: lots from HAT to the operator, status and denials back. Its state is in the tenant database."""
