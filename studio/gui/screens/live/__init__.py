"""The Run screen: one run while it trains, and afterwards."""
