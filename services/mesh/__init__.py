"""The way to a worker: route table → choice → placement → link. Used by every service that sends work."""
