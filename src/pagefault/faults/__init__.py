"""The fault path: pages come back by address or by query, checked against the chain and the hash."""
