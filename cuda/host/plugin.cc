#include "host/plugin.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <exception>
#include <new>
#include <set>

#include "backend/abi.h"
#include "host/cuda_backend.h"
#include "kernels/formats.h"

namespace tramontane::cuda {
namespace {

constexpr int kNeededDriver = 13000;

bool supported(int major, int minor) { return major > 7 || (major == 7 && minor >= 5); }

// Why no device can be used; empty when one can.
std::string find_problem(int* driver, int* count) {
  *driver = *count = 0;
  if (cudaDriverGetVersion(driver) != cudaSuccess) *driver = 0;
  if (*driver == 0) {
    return "no NVIDIA driver answers: install one of version 580 or newer, and in a container "
           "start it with GPU access";
  }
  if (*driver < kNeededDriver) {
    return "the NVIDIA driver is for CUDA " + std::to_string(*driver / 1000) + "." +
           std::to_string(*driver % 1000 / 10) +
           ", this plug-in needs 13.0: update the driver to version 580 or newer";
  }
  const cudaError_t error = cudaGetDeviceCount(count);
  cudaGetLastError();
  if (error != cudaSuccess) {
    *count = 0;
    return std::string("CUDA finds no device (") + cudaGetErrorString(error) +
           "): is a GPU attached, and does CUDA_VISIBLE_DEVICES leave one?";
  }
  return *count == 0 ? "CUDA finds no device: does CUDA_VISIBLE_DEVICES leave one?" : "";
}

void select_device(int device) {
  int driver, count;
  const std::string problem = find_problem(&driver, &count);
  if (!problem.empty()) throw StatusError(Status::kUnsupported, problem);
  if (device < 0 || device >= count) {
    throw StatusError(Status::kInvalid, "there is no CUDA device " + std::to_string(device) + ": " +
                                            std::to_string(count) + " are visible");
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "asking the device");
  if (!supported(properties.major, properties.minor)) {
    throw StatusError(Status::kUnsupported,
                      std::string(properties.name) + " has compute capability " +
                          std::to_string(properties.major) + "." +
                          std::to_string(properties.minor) + "; 7.5 or newer is needed");
  }
  check(cudaSetDevice(device), "using the device");
}

uint64_t weight_bytes(const WeightData& w, Compute compute) {
  const auto values = static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.columns);
  if (w.format == Format::kF32 || compute == Compute::kF32) return 4 * values;
  if (is_float(w.format)) return 2 * values;
  if (w.format == Format::kGptq) {
    if (w.gptq.bits != 4 && w.gptq.bits != 8) return 2 * values;
    const uint64_t groups = values / static_cast<uint64_t>(std::max(32, w.gptq.group_size));
    return values * static_cast<uint64_t>(w.gptq.bits) / 8 + 3 * groups;
  }
  const PlaneBytes planes = plane_bytes(w.format, w.rows, w.columns);
  return static_cast<uint64_t>(planes.codes + planes.high + planes.scales + planes.supers);
}

uint64_t file_bytes(const WeightData& w) {
  const auto values = static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.columns);
  if (w.format == Format::kGptq) return values * static_cast<uint64_t>(w.gptq.bits) / 8;
  const FormatInfo& info = format_info(w.format);
  return values / static_cast<uint64_t>(info.block_values) *
         static_cast<uint64_t>(info.block_bytes);
}

// As CudaBackend::allocate has it.
uint64_t scratch_bytes(const BackendOptions& o) {
  const ModelShape& s = o.shape;
  const auto rows = static_cast<uint64_t>(std::max(o.max_rows, o.max_outputs) + kMaxDotRows);
  const auto outputs = static_cast<uint64_t>(o.max_outputs + kMaxDotRows);
  const auto hidden = static_cast<uint64_t>(s.hidden), ffn = static_cast<uint64_t>(s.ffn);
  const auto heads = static_cast<uint64_t>(s.heads * s.head_size);
  const auto kv_heads = static_cast<uint64_t>(s.kv_heads * s.head_size);
  const uint64_t floats = 2 * hidden + 2 * heads + 2 * kv_heads + 2 * ffn;
  const uint64_t quantized = (hidden + heads + ffn + std::max({hidden, heads, ffn})) * 5 / 4;
  const uint64_t sampling = outputs * 4 * static_cast<uint64_t>(s.vocabulary) * 2;
  return rows * (4 * floats + quantized + 5 * heads) + sampling + (uint64_t{64} << 20);
}

double gigabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e9; }

void copy_text(const std::string& from, char* to, size_t size) {
  if (size) std::snprintf(to, size, "%s", from.c_str());
}

// Runs `work`; nothing is thrown over the seam.
template <class Work>
Status guarded(char* error, size_t error_size, Work work) {
  copy_text("", error, error_size);
  try {
    work();
    return Status::kOk;
  } catch (const StatusError& e) {
    copy_text(e.what(), error, error_size);
    return e.status();
  } catch (const std::bad_alloc&) {
    copy_text("out of memory", error, error_size);
    return Status::kOutOfMemory;
  } catch (const std::exception& e) {
    copy_text(e.what(), error, error_size);
    return Status::kDeviceFailed;
  }
}

void plan_memory(const BackendOptions& options, const WeightData* weights, int count,
                 double fraction, MemoryPlan& plan) {
  check_options(options);
  require(fraction > 0 && fraction <= 1, "memoryFraction is not above 0 and at most 1");
  plan = {};
  std::set<const uint8_t*> stored;  // An output may be the embedding's data.
  for (int i = 0; i < count; ++i) {
    if (!stored.insert(weights[i].data).second) continue;
    plan.weight_bytes += weight_bytes(weights[i], options.compute);
    plan.upload_bytes = std::max(plan.upload_bytes, file_bytes(weights[i]));
  }
  plan.page_bytes = page_bytes(options.shape, options.kv_type);
  plan.scratch_bytes = scratch_bytes(options);
  select_device(options.device);
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  plan.budget_bytes = static_cast<uint64_t>(static_cast<double>(free) * fraction);
  const uint64_t fixed = plan.weight_bytes + plan.scratch_bytes + plan.upload_bytes;
  const uint64_t least = plan.page_bytes * static_cast<uint64_t>(std::max(options.pages, 1));
  if (fixed + least <= plan.budget_bytes) {
    const uint64_t pages = (plan.budget_bytes - fixed) / plan.page_bytes;
    plan.max_pages = static_cast<int32_t>(std::min<uint64_t>(pages, INT32_MAX));
    return;
  }
  char message[512];
  std::snprintf(message, sizeof message,
                "the model does not fit on the device: weights %.3f GB + scratch %.3f GB + upload "
                "%.3f GB + KV cache %.3f GB (%lld tokens of %.1f KB) = %.3f GB, but %.3f GB may be "
                "used (%.3f GB are free, memoryFraction %.2f). Lower contextSize or kvCacheTokens, "
                "use a smaller format, or another device",
                gigabytes(plan.weight_bytes), gigabytes(plan.scratch_bytes),
                gigabytes(plan.upload_bytes), gigabytes(least),
                static_cast<long long>(least / plan.page_bytes) * kPageTokens,
                static_cast<double>(plan.page_bytes) / kPageTokens / 1e3, gigabytes(fixed + least),
                gigabytes(plan.budget_bytes), gigabytes(free), fraction);
  throw StatusError(Status::kOutOfMemory, message);
}

}  // namespace
}  // namespace tramontane::cuda

using namespace tramontane;

uint64_t tramontane_cuda_seam_hash() { return kSeamHash; }

Status tramontane_create_cuda_backend(const BackendOptions* options, Backend** backend, char* error,
                                      size_t error_size) {
  *backend = nullptr;
  return cuda::guarded(error, error_size, [&] {
    require(options->seam_hash == kSeamHash,
            "the CUDA plug-in is of another version than tramontane: install the same "
            "version of both");
    cuda::select_device(options->device);
    *backend = new cuda::CudaBackend(*options);
  });
}

void tramontane_probe_cuda(cuda::ProbeResult* result) {
  *result = {};
  cudaRuntimeGetVersion(&result->runtime_version);
  cuda::copy_text(cuda::find_problem(&result->driver_version, &result->device_count),
                  result->problem, sizeof result->problem);
  result->device_count = std::min(result->device_count, cuda::kMaxDevices);
  bool usable = false;
  for (int i = 0; i < result->device_count; ++i) {
    cuda::DeviceInfo& info = result->devices[i];
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    cuda::copy_text(properties.name, info.name, sizeof info.name);
    info.major = properties.major;
    info.minor = properties.minor;
    info.supported = cuda::supported(properties.major, properties.minor);
    info.total_bytes = properties.totalGlobalMem;
    usable = usable || info.supported;
  }
  if (result->device_count && !usable) {
    cuda::copy_text("no device has compute capability 7.5 or newer", result->problem,
                    sizeof result->problem);
  }
}

Status tramontane_plan_cuda_memory(const BackendOptions* options, const WeightData* weights,
                                   int32_t count, double memory_fraction, cuda::MemoryPlan* plan,
                                   char* error, size_t error_size) {
  return cuda::guarded(error, error_size, [&] {
    cuda::plan_memory(*options, weights, count, memory_fraction, *plan);
  });
}
