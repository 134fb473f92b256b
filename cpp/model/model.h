// A loaded model: its mapped files and the backend that holds its weights.
#pragma once

#include <string>
#include <vector>

#include "backend/open.h"
#include "model/sequence.h"
#include "model/weight_files.h"

namespace tramontane {

// What the TypeScript side says about a checkpoint. Believed only as far as it is checked again.
struct ModelDescription {
  std::vector<std::string> files;
  std::vector<WeightPlace> weights;
  ModelShape shape;
  int32_t window;     // 0: none
  int32_t context;    // Most tokens of a sequence.
  int32_t kv_tokens;  // Tokens the KV pool holds on the CPU.
  int32_t least_gpu_kv_tokens, most_gpu_kv_tokens;
  int32_t threads;
  KvType kv_type;
  Compute compute;
  BackendRequest backend;
};

// Most tokens one step computes, over all sequences.
constexpr int32_t kMaxStepRows = 512;
// Most rows one step gives logits of.
constexpr int32_t kMaxStepOutputs = 256;

class Model {
 public:
  // Maps the files and opens the backend with every weight. Throws Error.
  explicit Model(const ModelDescription& description);

  Backend& backend() { return *opened_.backend; }
  const ModelShape& shape() const { return shape_; }
  const SequenceLimits& limits() const { return limits_; }
  int32_t pages() const { return opened_.pages; }
  // Name of the GPU that computes; empty: the CPU does.
  const std::string& device() const { return opened_.device; }
  // Why it is this backend.
  const std::string& backend_reason() const { return opened_.reason; }

 private:
  const WeightFiles files_;  // Outlive the backend, which points into them.
  const ModelShape shape_;
  const SequenceLimits limits_;
  const OpenedBackend opened_;
};

}  // namespace tramontane
