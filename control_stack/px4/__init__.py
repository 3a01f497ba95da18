"""What both ends of a PX4 link share: flight modes, thrust scale and MAVLink framing. No MAVLink library here."""
