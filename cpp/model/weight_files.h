// The mapped files of a checkpoint, and where weights lie in them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/open.h"
#include "base/free_memory.h"
#include "base/mapped_file.h"

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
  // Columns of the copy of qweight in group order that the CPU reads; 0: it reads qweight as it is.
  int32_t ordered_columns;
  // A copy of qweight in group order, in a cache file.
  FilePlace ordered;
  uint64_t ordered_bytes;  // 0: there is none.
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

// Bytes of the words of a GPTQ weight with so many columns: its own, or those of a copy.
uint64_t gptq_word_bytes(const WeightPlace& weight, int32_t columns);

class WeightFiles {
 public:
  // Maps or reads the files, in the memory that `groups` leave. `progress` takes the part that is
  // read, and may throw to give up. Throws Error, and std::bad_alloc.
  explicit WeightFiles(
      const std::vector<std::string>& paths, Mapping mapping = Mapping::kShared,
      const std::vector<MemoryGroup>& groups = {}, const LoadProgress& progress = [](double) {});

  // Checks what it is told of a weight. Throws Error INVALID_FILE.
  ModelWeight find(const WeightPlace& weight) const;

  // Throws Error COMPUTE_FAILED when a file changed since it was mapped: what was computed since
  // may be wrong.
  void check_unchanged() const;

  // Of all files.
  uint64_t bytes() const;
  // What each mapped file is, whatever its path, and its length, less the words of GPTQ weights
  // that are used in a copy. None where the files were read.
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> lengths(
      const std::vector<WeightPlace>& copied = {}) const;

 private:
  const uint8_t* range(const WeightPlace& weight, const FilePlace& place, uint64_t bytes) const;

  std::vector<std::string> paths_;
  Mapping mapping_;
  std::vector<std::unique_ptr<MappedFile>> files_;
};

}  // namespace tramontane
