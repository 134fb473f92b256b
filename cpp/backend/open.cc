#include "backend/open.h"

#include "base/error.h"

namespace tramontane {
namespace {

[[noreturn]] void fail(Status status, const std::string& message) {
  throw Error(status == Status::kOutOfMemory    ? "OUT_OF_MEMORY"
              : status == Status::kDeviceFailed ? "COMPUTE_FAILED"
              : status == Status::kUnsupported  ? "UNSUPPORTED_FILE"
                                                : "INVALID_FILE",
              message);
}

double values_of(const WeightData& weight) { return double{1} * weight.rows * weight.columns; }

void load(OpenedBackend& opened, CreateBackend* create, const BackendOptions& options,
          const std::vector<ModelWeight>& weights, const LoadProgress& progress) {
  Backend* made = nullptr;
  char error[512] = "";
  const Status status = create(&options, &made, error, sizeof error);
  opened.backend.reset(made);
  if (status == Status::kInvalid) throw Error("INVALID_OPTION", error);
  if (status != Status::kOk) fail(status, error);

  Backend& backend = *opened.backend;
  double all = 0, done = 0;
  for (const ModelWeight& weight : weights) all += values_of(weight.data);
  for (const ModelWeight& weight : weights) {
    const Status set = backend.set_weight(weight.role, weight.layer, weight.data);
    if (set != Status::kOk) fail(set, weight.name + ": " + backend.last_error());
    done += values_of(weight.data);
    progress(done / all);
  }
  const Status finished = backend.finish_loading();
  if (finished != Status::kOk) fail(finished, backend.last_error());
}

OpenedBackend open_cuda(const BackendRequest& request, BackendOptions options,
                        const PoolPages& pages, const std::vector<ModelWeight>& weights,
                        const LoadProgress& progress) {
  if (request.plugin.empty()) throw Error("BACKEND_UNAVAILABLE", request.plugin_problem);
  OpenedBackend opened{};
  opened.plugin = std::make_unique<CudaPlugin>(request.plugin);
  opened.device = opened.plugin->device(request.device).name;
  options.device = request.device;
  options.pages = pages.gpu_least;
  std::vector<WeightData> data;
  data.reserve(weights.size());
  for (const ModelWeight& weight : weights) data.push_back(weight.data);
  options.pages = pages.gpu(opened.plugin->max_pages(options, data, request.memory_fraction));
  load(opened, opened.plugin->create(), options, weights, progress);
  opened.reason =
      request.name == BackendName::kCuda ? "option" : "CUDA is there, and the model fits";
  return opened;
}

}  // namespace

OpenedBackend open_backend(const BackendRequest& request, const BackendOptions& options,
                           const PoolPages& pages, const std::vector<ModelWeight>& weights,
                           const LoadProgress& progress) {
  OpenedBackend opened{};
  opened.reason = request.cpu_reason;
  if (request.name != BackendName::kCpu) {
    try {
      return open_cuda(request, options, pages, weights, progress);
    } catch (const Error& error) {
      if (request.name == BackendName::kCuda || !request.falls_back) throw;
      opened.reason = error.what();
    }
  }
  BackendOptions cpu = options;
  cpu.pages = pages.cpu();
  // Weights stay in their files: there is no progress to tell.
  load(opened, request.create_cpu, cpu, weights, [](double) {});
  return opened;
}

}  // namespace tramontane
