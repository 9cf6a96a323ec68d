"""What does telemetry cost a request?"""
