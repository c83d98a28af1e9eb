"""Write-back: what leaves the window is in the store, written behind the agent."""
