"""Generated code of version 2 of the Open Inference Protocol and of gRPC health checking."""
