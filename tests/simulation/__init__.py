"""A deterministic simulation of the deployed system under faults: docs/simulation.md describes it.

The real function code and the real state machine document run against in-memory models of the AWS services
under a virtual clock: no threads, no sleeps, no sockets. One seed decides everything.
"""
