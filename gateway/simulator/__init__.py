"""A simulated Productlane v2 in memory, built from the catalog, for the demo, the tests and users who work offline.

It listens on real sockets and may use the core's values. The serving path never imports it, and it reads no config.
"""

from gateway.simulator.arrivals import Arrival
from gateway.simulator.faults import Act, Fault
from gateway.simulator.keys import SimulatedKey
from gateway.simulator.limits import Limits
from gateway.simulator.simulator import Simulator

__all__ = ["Act", "Arrival", "Fault", "Limits", "SimulatedKey", "Simulator"]
