"""The cron adapter: sends genesis events to components at the times of their schedules."""
