"""The fox command line."""

from broker.runtime.first_process import end_on_sigterm

# Before the imports of a command, which take half a second.
end_on_sigterm()
