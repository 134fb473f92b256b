#include "model/model.h"

#include <algorithm>
#include <utility>

#include "backend/abi.h"
#include "backend/rules.h"

namespace tramontane {
namespace {

// Full sequences the default pool holds at most: on the CPU, whose memory is everybody's, few; on a
// GPU as many as can run at once.
constexpr int32_t kCpuSequences = 4, kGpuSequences = 128;
// Of the memory that is left, the part that sequences beyond the first may take.
constexpr double kCpuShare = 0.5, kGpuShare = 1;

// What the CPU's buffers come to when steps are as large as they may be.
uint64_t scratch_bytes(const BackendOptions& options) {
  const ModelShape& s = options.shape;
  const int64_t queries = int64_t{s.heads} * s.head_size, keys = int64_t{s.kv_heads} * s.head_size;
  const int64_t row = 4 * 2 * (s.hidden + queries + keys + int64_t{s.ffn});
  const int64_t quantized = 4 * std::max<int64_t>({s.hidden, queries, s.ffn});
  return static_cast<uint64_t>(options.max_rows * (row + quantized) +
                               int64_t{4} * s.vocabulary * (options.max_outputs + options.threads));
}

// Whether the CPU reads a GPTQ weight from a copy in group order.
bool is_copied(const WeightPlace& weight, Compute compute) {
  return weight.format == Format::kGptq && compute == Compute::kInt8 &&
         weight.gptq.ordered_columns > 0;
}

BackendOptions backend_options(const ModelDescription& description) {
  BackendOptions options{};
  options.seam_hash = kSeamHash;
  options.shape = description.shape;
  options.window = description.window;
  options.max_rows = kMaxStepRows;
  options.max_outputs = kMaxStepOutputs;
  options.threads = description.threads;
  options.kv_type = description.kv_type;
  options.compute = description.compute;
  return options;
}

}  // namespace

MemoryNeeds memory_needs(const ModelDescription& description, int32_t rows, int32_t outputs) {
  BackendOptions options = backend_options(description);
  options.max_rows = rows;
  options.max_outputs = outputs;
  const SequenceLimits limits{description.window, description.kv.context, kMaxStepRows};
  return {page_bytes(options.shape, options.kv_type),
          pages_needed(limits, description.kv.context, kMaxStepRows), scratch_bytes(options),
          free_memory(description.memory_groups)};
}

OpenedBackend Model::open(const ModelDescription& description, const LoadProgress& progress) {
  std::vector<ModelWeight> weights;
  for (const WeightPlace& weight : description.weights) weights.push_back(files_.find(weight));

  const BackendOptions options = backend_options(description);
  page_bytes_ = page_bytes(options.shape, options.kv_type);

  PoolPages pages;
  pages.cpu = [&] {
    std::vector<WeightPlace> copied;
    for (const WeightPlace& weight : description.weights) {
      if (!is_copied(weight, description.compute)) continue;
      copied.push_back(weight);
      if (weight.gptq.ordered_bytes == 0) {
        ordered_bytes_ += gptq_word_bytes(weight, weight.gptq.ordered_columns);
      }
    }
    share_.emplace(description.memory_groups, files_.lengths(copied));
    const uint64_t scratch = scratch_bytes(options);
    MemoryShare::Room room = share_->room(scratch, ordered_bytes_);
    const auto page = static_cast<int64_t>(page_bytes_);
    const char* advice = ordered_bytes_ > 0 ? "gptqCache: FILE, which can be dropped too" : "";
    kv_size_ = size_kv_cache(
        description.kv, description.window, kMaxStepRows,
        {room.bytes / page, room.most_bytes / page, kCpuSequences, kCpuShare, room.sum, advice});
    const uint64_t cache = static_cast<uint64_t>(kv_size_.pages) * page_bytes_;
    share_->promise(scratch + ordered_bytes_ + cache, std::move(room));
    return kv_size_.pages;
  };
  const int32_t asked = description.kv.tokens;
  pages.gpu_least = pages_of(asked > 0 ? asked : std::min(description.kv.context, kLeastKvTokens));
  pages.gpu = [&](int32_t room) {
    kv_size_ =
        size_kv_cache(description.kv, description.window, kMaxStepRows,
                      {room, room, kGpuSequences, kGpuShare,
                       "that is what memoryFraction leaves on the GPU beside the weights", ""});
    return kv_size_.pages;
  };
  return open_backend(description.backend, options, pages, weights, progress);
}

Model::Model(const ModelDescription& description, const LoadProgress& progress)
    : memory_groups_(description.memory_groups),
      files_(description.files, description.mapping, description.memory_groups,
             [&](double fraction) { progress(fraction / 2); }),
      shape_(description.shape),
      opened_(open(description,
                   [&](double fraction) {
                     const bool read = description.mapping == Mapping::kRead;
                     progress(read ? (1 + fraction) / 2 : fraction);
                   })),
      limits_{description.window, kv_size_.context, kMaxStepRows} {
  if (share_) share_->set_used(ordered_bytes_);
  check_files();
}

int32_t Model::pages_short(int32_t touched) {
  if (!share_) return 0;
  share_->set_used(ordered_bytes_ + static_cast<uint64_t>(touched) * page_bytes_);
  const uint64_t pages = (share_->shortage() + page_bytes_ - 1) / page_bytes_;
  return static_cast<int32_t>(std::min<uint64_t>(pages, static_cast<uint64_t>(touched)));
}

}  // namespace tramontane
