// A loaded model: its mapped files and the backend that holds its weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backend/open.h"
#include "model/kv_size.h"
#include "model/memory_share.h"
#include "model/sequence.h"
#include "model/weight_files.h"

namespace tramontane {

// What the TypeScript side says about a checkpoint. Believed only as far as it is checked again.
struct ModelDescription {
  std::vector<std::string> files;
  Mapping mapping = Mapping::kShared;
  std::vector<WeightPlace> weights;
  ModelShape shape;
  int32_t window;  // 0: none
  KvRequest kv;
  std::vector<MemoryGroup> memory_groups;
  int32_t threads;
  KvType kv_type;
  Compute compute;
  BackendRequest backend;
};

// Most tokens one step computes, over all sequences.
constexpr int32_t kMaxStepRows = 512;
// Most rows one step gives logits of.
constexpr int32_t kMaxStepOutputs = 256;

// What a model needs of the memory beside its weights, on the CPU.
struct MemoryNeeds {
  uint64_t page_bytes;     // Of kPageTokens tokens, all layers.
  int32_t sequence_pages;  // That one sequence of a whole context holds at most.
  uint64_t scratch_bytes;
  FreeMemory free;
};
// Of steps with at most so many rows, and logits of so many. Opens nothing.
MemoryNeeds memory_needs(const ModelDescription& description, int32_t rows, int32_t outputs);

class Model {
 public:
  // Maps or reads the files and opens the backend with every weight. Throws Error, and what
  // `progress` does.
  explicit Model(
      const ModelDescription& description, const LoadProgress& progress = [](double) {});

  // Throws Error COMPUTE_FAILED when a file is not any more what was loaded. After a step: whether
  // what it computed can be believed.
  void check_files() const { files_.check_unchanged(); }

  Backend& backend() { return *opened_.backend; }
  const ModelShape& shape() const { return shape_; }
  const SequenceLimits& limits() const { return limits_; }
  int32_t pages() const { return kv_size_.pages; }
  const KvSize& kv_size() const { return kv_size_; }
  // Told how many pages of the cache hold something, says how many of them should be given back
  // because memory runs short. Reads files of the system's: not for every step.
  int32_t pages_short(int32_t touched);
  // What else bounds the memory of the process.
  const std::vector<MemoryGroup>& memory_groups() const { return memory_groups_; }
  // Name of the GPU that computes; empty: the CPU does.
  const std::string& device() const { return opened_.device; }
  // Why it is this backend.
  const std::string& backend_reason() const { return opened_.reason; }

 private:
  OpenedBackend open(const ModelDescription& description, const LoadProgress& progress);

  const std::vector<MemoryGroup> memory_groups_;
  const WeightFiles files_;  // Outlive the backend, which points into them.
  const ModelShape shape_;
  std::optional<MemoryShare> share_;  // Of a model that the CPU computes.
  KvSize kv_size_;
  uint64_t page_bytes_ = 0;
  uint64_t ordered_bytes_ = 0;  // Copies of GPTQ weights in group order, in memory of their own.
  const OpenedBackend opened_;
  const SequenceLimits limits_;
};

}  // namespace tramontane
