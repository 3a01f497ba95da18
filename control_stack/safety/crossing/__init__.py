"""Vehicles that cross each other's ways behind filters, and the gains of these filters, adapted from what each sees."""
