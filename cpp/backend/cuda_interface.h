// What the CUDA plug-in exports, found by name in its shared library: its version, what a machine
// has, what a model needs, and the factory of backends. Plain structs, as at the seam.
#pragma once

#include "backend/backend.h"

namespace tramontane::cuda {

// `tramontane_cuda_seam_hash`: kSeamHash of the plug-in. Asked before all else.
using SeamHash = uint64_t();

constexpr int kMaxDevices = 16;

struct DeviceInfo {
  char name[256];
  int32_t major, minor;  // Compute capability.
  int32_t supported;     // 7.5 and newer.
  uint64_t total_bytes;
};

struct ProbeResult {
  int32_t driver_version;   // 13000 is 13.0. 0: no driver.
  int32_t runtime_version;  // What the plug-in was built with.
  int32_t device_count;
  DeviceInfo devices[kMaxDevices];
  char problem[512];  // Empty: at least one device can be used. Else why not and what to do.
};
// `tramontane_probe_cuda`. Touches no device's memory.
using Probe = void(ProbeResult* result);

struct MemoryPlan {
  uint64_t weight_bytes;   // On the device.
  uint64_t upload_bytes;   // While loading: the largest weight as it is in its file.
  uint64_t page_bytes;     // One page of kPageTokens tokens, all layers.
  uint64_t scratch_bytes;  // Buffers of a step.
  uint64_t budget_bytes;   // memory_fraction of the device's free memory.
  int32_t max_pages;       // That fit beside weights and scratch.
};
// `tramontane_plan_cuda_memory`. Weights of the same data are counted once. kOutOfMemory when fewer
// than `options.pages` fit: `error` has the sum.
using PlanMemory = Status(const BackendOptions* options, const WeightData* weights, int32_t count,
                          double memory_fraction, MemoryPlan* plan, char* error, size_t error_size);

// `tramontane_create_cuda_backend` is a CreateBackend.

}  // namespace tramontane::cuda
