"""ZooKeeper's rules as pure functions: no I/O, no clock, no randomness.

``apply`` takes a state, an operation and the transaction's zxid and time, and changes the state or raises the
error that ZooKeeper would answer. The sequencer, the gateway and the simulation all call this one place.
"""
