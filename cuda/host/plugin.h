// What the plug-in exports besides its factory: what a machine has, and what a model needs. Plain
// structs; found by name with dlsym.
#pragma once

#include "backend/backend.h"

namespace tramontane::cuda {

constexpr int kMaxDevices = 16;

struct DeviceInfo {
  char name[256];
  int32_t major, minor;  // Compute capability.
  int32_t supported;     // 7.5 and newer.
  uint64_t free_bytes, total_bytes;
};

struct ProbeResult {
  uint32_t abi_version;     // kBackendAbiVersion of the plug-in.
  int32_t driver_version;   // 13000 is 13.0. 0: no driver.
  int32_t runtime_version;  // What the plug-in was built with.
  int32_t device_count;
  DeviceInfo devices[kMaxDevices];
  char problem[512];  // Empty: at least one device can be used. Else why not and what to do.
};
using Probe = void(ProbeResult* result);

// A weight as the memory plan counts it.
struct WeightShape {
  Format format;
  int32_t gptq_bits, gptq_group_size;
  int32_t rows, columns;
};

struct MemoryPlan {
  uint64_t weight_bytes;   // On the device.
  uint64_t upload_bytes;   // While loading: the largest weight as it is in its file.
  uint64_t page_bytes;     // One page of kPageTokens tokens, all layers.
  uint64_t scratch_bytes;  // Buffers of a step.
  uint64_t budget_bytes;   // memory_fraction of the device's free memory.
  int32_t max_pages;       // That fit beside weights and scratch; 0: the model does not fit.
};
// `options.pages` is not read. kOutOfMemory when not one page fits: `error` has the sum.
using PlanMemory = Status(const BackendOptions* options, const WeightShape* weights, int32_t count,
                          double memory_fraction, MemoryPlan* plan, char* error, size_t error_size);

}  // namespace tramontane::cuda

#if defined(_WIN32)
#define TRAMONTANE_EXPORT __declspec(dllexport)
#else
#define TRAMONTANE_EXPORT __attribute__((visibility("default")))
#endif

extern "C" {
TRAMONTANE_EXPORT tramontane::CreateBackend tramontane_create_cuda_backend;
TRAMONTANE_EXPORT tramontane::cuda::Probe tramontane_probe_cuda;
TRAMONTANE_EXPORT tramontane::cuda::PlanMemory tramontane_plan_cuda_memory;
}
