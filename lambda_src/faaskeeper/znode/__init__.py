"""ZooKeeper's rules as pure functions: no I/O, no clock, no randomness, no import of another folder.

``apply`` takes a state, an operation and the zxid and time of its transaction; it changes the state, or raises the
error that ZooKeeper would answer. ``model`` has znodes, stats and events, ``operations`` what can be asked for,
``state`` what an operation may look at, ``touched`` what must be loaded before. Sequencer, gateway and simulator all
call these; each rule names the class of ZooKeeper that it is taken from. How a znode is stored does not belong here.
"""
