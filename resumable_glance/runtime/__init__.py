"""The process: options, settings, logs, clock, threads and durable files. Knows nothing of uploads."""
