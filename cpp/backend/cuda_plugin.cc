#include "backend/cuda_plugin.h"

#include "backend/abi.h"
#include "base/error.h"

namespace tramontane {
namespace {

[[noreturn]] void unavailable(const std::string& message) {
  throw Error("BACKEND_UNAVAILABLE", message);
}

}  // namespace

CudaPlugin::CudaPlugin(const std::string& path)
    : library_(path),
      probe_(library_.function<cuda::Probe>("tramontane_probe_cuda")),
      plan_memory_(library_.function<cuda::PlanMemory>("tramontane_plan_cuda_memory")),
      create_(library_.function<CreateBackend>("tramontane_create_cuda_backend")) {
  auto* seam_hash = library_.function<cuda::SeamHash>("tramontane_cuda_seam_hash");
  if (seam_hash == nullptr) {
    unavailable(path + " is not a CUDA plug-in of this version of the package");
  }
  if (seam_hash() != kSeamHash || !probe_ || !plan_memory_ || !create_) {
    unavailable(path +
                " is a CUDA plug-in of another version of the package: install or build the "
                "same version of both");
  }
}

cuda::ProbeResult CudaPlugin::probe() const {
  cuda::ProbeResult result;
  probe_(&result);
  return result;
}

cuda::DeviceInfo CudaPlugin::device(int32_t index) const {
  const cuda::ProbeResult found = probe();
  if (found.problem[0] != '\0') unavailable(found.problem);
  if (index < 0 || index >= found.device_count) {
    throw Error("INVALID_OPTION", "device must be a CUDA device from 0 to " +
                                      std::to_string(found.device_count - 1) + ", but is " +
                                      std::to_string(index));
  }
  const cuda::DeviceInfo& device = found.devices[index];
  if (!device.supported) {
    unavailable("device " + std::to_string(index) + " (" + device.name +
                ") has compute capability " + std::to_string(device.major) + "." +
                std::to_string(device.minor) + "; 7.5 or newer is needed");
  }
  return device;
}

int32_t CudaPlugin::max_pages(const BackendOptions& options, const std::vector<WeightData>& weights,
                              double memory_fraction) const {
  cuda::MemoryPlan plan;
  char error[512] = "";
  const Status status = plan_memory_(&options, weights.data(), static_cast<int32_t>(weights.size()),
                                     memory_fraction, &plan, error, sizeof error);
  if (status == Status::kOk) return plan.max_pages;
  throw Error(status == Status::kOutOfMemory ? "OUT_OF_MEMORY" : "BACKEND_UNAVAILABLE", error);
}

}  // namespace tramontane
