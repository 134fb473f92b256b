#include "model/model.h"

namespace tramontane {
namespace {

int32_t pages_of(int32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

OpenedBackend open(const ModelDescription& description, const WeightFiles& files) {
  std::vector<ModelWeight> weights;
  for (const WeightPlace& weight : description.weights) weights.push_back(files.find(weight));

  BackendOptions options{};
  options.abi_version = kBackendAbiVersion;
  options.struct_size = sizeof(BackendOptions);
  options.shape = description.shape;
  options.window = description.window;
  options.max_rows = kMaxStepRows;
  options.max_outputs = kMaxStepOutputs;
  options.threads = description.threads;
  options.kv_type = description.kv_type;
  options.compute = description.compute;
  const PoolPages pages{pages_of(description.kv_tokens), pages_of(description.least_gpu_kv_tokens),
                        pages_of(description.most_gpu_kv_tokens)};
  return open_backend(description.backend, options, pages, weights);
}

}  // namespace

Model::Model(const ModelDescription& description)
    : files_(description.files),
      shape_(description.shape),
      limits_{description.window, description.context, kMaxStepRows},
      opened_(open(description, files_)) {}

}  // namespace tramontane
