"""A deterministic simulation of the deployed system under faults. `python -m tests.simulation --help`.

The real function code and the real ASL document run against in-memory models of the AWS services under a
virtual clock: no threads, no sleeps, no sockets. One seed decides everything: inputs, delays, the order of
what happens at once, and every fault. Read in this order: world.py puts it together, interpreter.py runs the
document, lambdas.py suspends function code at each AWS call, checks.py says what must hold afterwards.
"""
