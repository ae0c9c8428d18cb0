"""The use cases: what a person or a schedule asks for, without SQL dialect and without Dagster."""
