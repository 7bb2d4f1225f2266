"""Every line of SQL, every table, every migration."""
