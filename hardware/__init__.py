"""Drivers of real vehicles: the Vehicle protocol over the vendors' own client libraries."""
