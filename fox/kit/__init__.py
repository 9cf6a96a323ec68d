"""Write a component, run it as a pod, test it without one; ``fox`` is the public interface."""
