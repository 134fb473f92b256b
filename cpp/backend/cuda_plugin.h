// The CUDA plug-in: a shared library of its own, so that the package works without it.
#pragma once

#include <string>
#include <vector>

#include "backend/cuda_interface.h"
#include "base/shared_library.h"

namespace tramontane {

class CudaPlugin {
 public:
  // Throws Error BACKEND_UNAVAILABLE: cannot be loaded, is something else, is of another version.
  explicit CudaPlugin(const std::string& path);

  cuda::ProbeResult probe() const;

  // What can be used of device `index`. Throws Error BACKEND_UNAVAILABLE: no driver, too old a
  // one, no device, too old a device; INVALID_OPTION: there is no such device.
  cuda::DeviceInfo device(int32_t index) const;

  // Pages that fit beside the weights. Throws Error OUT_OF_MEMORY, with the sum, when fewer than
  // `options.pages` do; nothing is allocated.
  int32_t max_pages(const BackendOptions& options, const std::vector<WeightData>& weights,
                    double memory_fraction) const;

  CreateBackend* create() const { return create_; }

 private:
  const SharedLibrary library_;
  cuda::Probe* probe_;
  cuda::PlanMemory* plan_memory_;
  CreateBackend* create_;
};

}  // namespace tramontane
