#include "model/model.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "model/transformer.h"

namespace tramontane {
namespace {

int32_t pages_of(int32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

void set_weight(Backend& backend, const WeightPlace& weight, const WeightData& data) {
  const Status status = backend.set_weight(weight.role, weight.layer, data);
  if (status == Status::kOk) return;
  const char* code = status == Status::kOutOfMemory    ? "OUT_OF_MEMORY"
                     : status == Status::kDeviceFailed ? "COMPUTE_FAILED"
                     : status == Status::kUnsupported  ? "UNSUPPORTED_FILE"
                                                       : "INVALID_FILE";
  throw Error(code, weight.name + ": " + backend.last_error());
}

}  // namespace

Model::Model(const ModelDescription& description)
    : files_(description.files),
      shape_(description.shape),
      limits_{description.window, description.context, kMaxStepRows} {
  std::vector<FoundWeight> weights;
  for (const WeightPlace& weight : description.weights) weights.push_back(files_.find(weight));

  BackendOptions options{};
  options.abi_version = kBackendAbiVersion;
  options.struct_size = sizeof(BackendOptions);
  options.shape = shape_;
  options.window = description.window;
  options.max_rows = kMaxStepRows;
  options.max_outputs = kMaxStepOutputs;
  options.threads = description.threads;
  options.kv_type = description.kv_type;
  options.compute = description.compute;

  if (description.cuda) {
    try {
      use_cuda(*description.cuda, options, weights);
      return;
    } catch (const Error& error) {
      if (description.cuda->required) throw;
      cuda_problem_ = error.what();
      backend_.reset();
      plugin_.reset();
    }
  }
  options.pages = pages_of(description.kv_tokens);
  use_backend(tramontane_create_cpu_backend, options, weights);
}

// An output that is the embedding's data is stored once.
std::vector<cuda::WeightShape> Model::stored_once(const std::vector<FoundWeight>& weights) {
  std::vector<cuda::WeightShape> shapes;
  std::set<const uint8_t*> known;
  for (const FoundWeight& w : weights) {
    const bool gptq = w.data.format == Format::kGptq;
    if (!known.insert(gptq ? w.parts.qweight : w.data.data).second) continue;
    shapes.push_back(
        {w.data.format, w.parts.bits, w.parts.group_size, w.data.rows, w.data.columns});
  }
  return shapes;
}

void Model::use_cuda(const CudaRequest& request, BackendOptions options,
                     const std::vector<FoundWeight>& weights) {
  plugin_ = std::make_unique<CudaPlugin>(request.plugin);
  const cuda::DeviceInfo device = plugin_->device(request.device);
  options.device = request.device;
  options.pages = pages_of(request.least_kv_tokens);
  options.pages =
      std::min(plugin_->max_pages(options, stored_once(weights), request.memory_fraction),
               pages_of(request.most_kv_tokens));
  use_backend(plugin_->create(), options, weights);
  device_ = device.name;
}

void Model::use_backend(CreateBackend* create, const BackendOptions& options,
                        const std::vector<FoundWeight>& weights) {
  Backend* backend = nullptr;
  char error[512] = "";
  const Status status = create(&options, &backend, error, sizeof error);
  backend_.reset(backend);
  if (status == Status::kInvalid) throw Error("INVALID_OPTION", error);
  if (status == Status::kOutOfMemory) throw Error("OUT_OF_MEMORY", error);
  if (status == Status::kUnsupported) throw Error("UNSUPPORTED_FILE", error);
  if (status != Status::kOk) throw Error("COMPUTE_FAILED", error);
  pages_ = options.pages;

  for (const FoundWeight& weight : weights) {
    WeightData data = weight.data;
    if (data.format == Format::kGptq) data.gptq = &weight.parts;
    set_weight(*backend_, weight.place, data);
  }
  check(*backend_, backend_->finish_loading());
}

}  // namespace tramontane
