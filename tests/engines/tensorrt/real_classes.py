"""What the adapter calls, by TensorRT's class; `test_real_classes` holds it against the real packages, and
`test_fakes` against our fakes."""

from __future__ import annotations

RUNTIME_CALLS = {
    "Runtime": ("deserialize_cuda_engine", "engine_host_code_allowed"),
    "ICudaEngine": (
        "name",
        "num_io_tensors",
        "num_optimization_profiles",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
        "get_tensor_shape",
        "get_tensor_location",
        "get_tensor_format_desc",
        "get_tensor_profile_shape",
        "get_device_memory_size_for_profile_v2",
        "is_shape_inference_io",
        "create_runtime_config",
        "create_execution_context",
    ),
    "IRuntimeConfig": ("set_execution_context_allocation_strategy",),
    "IExecutionContext": (
        "set_optimization_profile_async",
        "set_input_shape",
        "get_tensor_shape",
        "update_device_memory_size_for_shapes",
        "set_device_memory",
        "set_tensor_address",
        "execute_async_v3",
    ),
}
RTX_RUNTIME_CALLS = {
    "IRuntimeConfig": (
        "cuda_graph_strategy",
        "dynamic_shapes_kernel_specialization_strategy",
        "create_runtime_cache",
        "set_runtime_cache",
    ),
    "IRuntimeCache": ("serialize", "deserialize"),
    "IExecutionContext": ("is_stream_capturable",),
}
BUILDER_CALLS = {
    "Builder": (
        "create_network",
        "create_builder_config",
        "create_optimization_profile",
        "build_serialized_network",
    ),
    "INetworkDefinition": ("name", "get_input"),
    "OnnxParser": ("parse", "num_errors", "get_error"),
    "IBuilderConfig": (
        "clear_flag",
        "set_flag",
        "add_optimization_profile",
        "progress_monitor",
        "num_compute_capabilities",
        "set_compute_capability",
    ),
    "IOptimizationProfile": ("set_shape",),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
}
RUNTIME_MEMBERS = {
    "TensorIOMode": ("INPUT", "OUTPUT"),
    "TensorLocation": ("DEVICE",),
    "ExecutionContextAllocationStrategy": ("USER_MANAGED",),
}
RTX_MEMBERS = {
    "CudaGraphStrategy": ("DISABLED",),
    "DynamicShapesKernelSpecializationStrategy": ("EAGER",),
    "ComputeCapability": ("SM80", "SM89", "CURRENT"),
}
BUILDER_MEMBERS = {
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "BuilderFlag": ("TF32",),
}
SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
