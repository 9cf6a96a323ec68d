"""What bodies of any length cost: throughput, memory, and how soon an event is seen."""
