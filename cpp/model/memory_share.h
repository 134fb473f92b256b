// What the models of this process need of its memory, so that each takes what the others leave.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/free_memory.h"

namespace tramontane {

// A model's share: its files, which want to stay in memory though the system may drop them, and
// memory of its own. Exists while the model does.
class MemoryShare {
 public:
  using FileId = std::pair<uint64_t, uint64_t>;  // Device and inode.

  // `files` are the mapped files with their lengths; models that map the same file share it.
  MemoryShare(std::vector<MemoryGroup> groups, std::map<FileId, uint64_t> files);
  ~MemoryShare();
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  // What is left for the pages of this model's KV cache: free memory, less the files of all models
  // of the process, what other models were promised and have not used yet, what this one needs
  // beside pages, and a reserve for what else goes on. Held until promise(), so that of two loads
  // at the same time one sees what the other takes.
  struct Room {
    std::unique_lock<std::mutex> lock;
    int64_t bytes;
    // The same without files and reserve: beyond it the system ends the process, for only files can
    // be dropped.
    int64_t most_bytes;
    std::string sum;
  };
  // `ordered_bytes`: copies of GPTQ weights.
  Room room(uint64_t scratch_bytes, uint64_t ordered_bytes = 0) const;
  // From now on others leave so many bytes to this model.
  void promise(uint64_t bytes, Room room);

  // Of what was promised, this is in use. Called by the model's engine as it changes.
  void set_used(uint64_t bytes) { used_ = bytes; }
  // Bytes that have to be given back for the files of all models to stay in memory; 0: none.
  uint64_t shortage() const;

 private:
  struct Sum {
    uint64_t files = 0, promised = 0;
  };
  Sum all() const;  // With the lock held.

  const std::vector<MemoryGroup> groups_;
  const std::map<FileId, uint64_t> files_;
  uint64_t promised_ = 0;
  std::atomic<uint64_t> used_{0};
};

}  // namespace tramontane
