"""HTTP/1.1 below the application: uvicorn's protocol class, request heads and bodies."""
