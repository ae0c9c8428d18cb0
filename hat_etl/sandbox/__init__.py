"""A practice ground on real servers: an embedded PLS as Protheus has it, and an empty HAT database."""
