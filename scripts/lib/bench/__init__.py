"""What scripts/bench is made of: servers, load, one module a scenario, and the report."""
