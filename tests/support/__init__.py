"""What tests share: services, requests, proxies, clouds, browsers."""
