"""Commands that need no Productlane: the demo and the simulator."""
