"""Names that the standard protocols have on the wire. Written by protos/generate.py."""

INFERENCE_SERVICE = "inference.GRPCInferenceService"
"""Full name of the Open Inference Protocol's service."""

HEALTH_SERVICE = "grpc.health.v1.Health"
"""Full name of the gRPC health service."""

WIRE_SERVICES = {
    "penstock.oip.v2.GRPCInferenceService": "inference.GRPCInferenceService",
    "penstock.oip.v2.Health": "grpc.health.v1.Health",
}
"""Full name of a service on the wire by its full name in our descriptors."""

WIRE_FILES = {
    "penstock/oip/v2/inference.proto": ("grpc_service.proto", "inference"),
    "penstock/oip/v2/model_config.proto": ("model_config.proto", "inference"),
    "penstock/oip/v2/health.proto": ("grpc/health/v1/health.proto", "grpc.health.v1"),
}
"""File name and package that a standard gives a file, by our name of it."""
