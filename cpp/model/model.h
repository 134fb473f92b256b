// A loaded model: its mapped files and the backend that holds its weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/mapped_file.h"
#include "model/sequence.h"

namespace tramontane {

// Where a tensor lies; its length follows from format and shape.
struct FilePlace {
  int32_t file;
  uint64_t offset;
};

struct GptqPlace {
  int32_t bits, group_size, zero_bias;
  Format scale_format;
  FilePlace qweight, qzeros, scales, group_index;
  bool has_group_index;
};

struct WeightPlace {
  std::string name;  // For messages.
  Role role;
  int32_t layer;  // 0 for weights that exist once.
  Format format;
  int32_t rows, columns;
  FilePlace place;  // Not for GPTQ.
  GptqPlace gptq;   // Only for GPTQ.
};

// What the TypeScript side says about a checkpoint. Believed only as far as it is checked again.
struct ModelDescription {
  std::vector<std::string> files;
  std::vector<WeightPlace> weights;
  ModelShape shape;
  int32_t window;     // 0: none
  int32_t context;    // Most tokens of a sequence.
  int32_t kv_tokens;  // Tokens the KV pool holds.
  int32_t threads;
  KvType kv_type;
  Compute compute;
};

// Most tokens one step computes, over all sequences.
constexpr int32_t kMaxStepRows = 512;
// Most rows one step gives logits of.
constexpr int32_t kMaxStepOutputs = 256;

class Model {
 public:
  // Maps the files and hands every weight to the backend. Throws Error.
  explicit Model(const ModelDescription& description);

  Backend& backend() { return *backend_; }
  const ModelShape& shape() const { return shape_; }
  const SequenceLimits& limits() const { return limits_; }
  int32_t pages() const { return pages_; }

 private:
  struct Destroy {
    void operator()(Backend* backend) const { backend->destroy(); }
  };

  const uint8_t* range(const WeightPlace& weight, const FilePlace& place, uint64_t bytes) const;
  void load(const WeightPlace& weight);

  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<MappedFile>> files_;  // Outlive the backend, which points into them.
  std::unique_ptr<Backend, Destroy> backend_;
  ModelShape shape_;
  SequenceLimits limits_;
  int32_t pages_;
};

}  // namespace tramontane
