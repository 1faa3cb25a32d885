"""What a request will take: seconds, forwards and memory, known beforehand."""
