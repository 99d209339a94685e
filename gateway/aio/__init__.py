"""Small pieces on top of asyncio: background tasks, single flight, calls with a time limit and a rest.

They know nothing of this program; every room may use them.
"""
