"""The fox command line."""

import os

if os.getpid() == 1:
    # In a container. Before the imports of a command, which take half a second; on a machine, most
    # commands need not load ``broker``.
    from broker.runtime.first_process import end_on_sigterm

    end_on_sigterm()
