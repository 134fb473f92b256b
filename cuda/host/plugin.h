// The functions the plug-in exports; see backend/cuda_interface.h.
#pragma once

#include "backend/cuda_interface.h"

#if defined(_WIN32)
#define TRAMONTANE_EXPORT __declspec(dllexport)
#else
#define TRAMONTANE_EXPORT __attribute__((visibility("default")))
#endif

extern "C" {
TRAMONTANE_EXPORT tramontane::cuda::SeamHash tramontane_cuda_seam_hash;
TRAMONTANE_EXPORT tramontane::cuda::Probe tramontane_probe_cuda;
TRAMONTANE_EXPORT tramontane::cuda::PlanMemory tramontane_plan_cuda_memory;
TRAMONTANE_EXPORT tramontane::CreateBackend tramontane_create_cuda_backend;
}
