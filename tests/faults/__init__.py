"""Guarantees while a part dies: a load with a fault in its middle, and every answer counted."""
