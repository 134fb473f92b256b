// A CUDA plug-in of a version that does not exist, for the test that it is refused unasked.
#include <cstdio>

#include "backend/abi.h"
#include "host/plugin.h"

using namespace tramontane;

uint64_t tramontane_cuda_seam_hash() { return kSeamHash + 1; }

void tramontane_probe_cuda(cuda::ProbeResult* result) {
  *result = {};
  std::snprintf(result->problem, sizeof result->problem, "asked in spite of its version");
}

Status tramontane_plan_cuda_memory(const BackendOptions*, const WeightData*, int32_t, double,
                                   cuda::MemoryPlan*, char*, size_t) {
  return Status::kDeviceFailed;
}

Status tramontane_create_cuda_backend(const BackendOptions*, Backend**, char*, size_t) {
  return Status::kDeviceFailed;
}
