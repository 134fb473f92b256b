#include "model/memory_share.h"

#include <algorithm>
#include <cstdio>

namespace tramontane {
namespace {

// The shares of the process.
struct Shares {
  std::mutex mutex;
  std::vector<const MemoryShare*> all;
};

Shares& shares() {
  static Shares& instance = *new Shares;  // A model may outlive whatever ends with the process.
  return instance;
}

// Kept free for what is not known here: the program's own growth, page tables, other files.
uint64_t reserve_of(const FreeMemory& free) {
  return std::min<uint64_t>(free.limit / 16, uint64_t{512} << 20);
}

std::string megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

MemoryShare::MemoryShare(std::vector<MemoryGroup> groups, std::map<FileId, uint64_t> files)
    : groups_(std::move(groups)), files_(std::move(files)) {
  const std::lock_guard lock(shares().mutex);
  shares().all.push_back(this);
}

MemoryShare::~MemoryShare() {
  const std::lock_guard lock(shares().mutex);
  std::erase(shares().all, this);
}

MemoryShare::Sum MemoryShare::all() const {
  Sum sum;
  std::map<FileId, uint64_t> files;
  for (const MemoryShare* share : shares().all) {
    files.insert(share->files_.begin(), share->files_.end());
    const uint64_t used = share->used_;
    if (share != this && share->promised_ > used) sum.promised += share->promised_ - used;
  }
  for (const auto& [id, bytes] : files) sum.files += bytes;
  return sum;
}

MemoryShare::Room MemoryShare::room(uint64_t scratch_bytes, uint64_t ordered_bytes) const {
  std::unique_lock lock(shares().mutex);
  const Sum sum = all();
  const FreeMemory free = free_memory(groups_);
  const uint64_t reserve = reserve_of(free);
  const uint64_t own = sum.promised + scratch_bytes + ordered_bytes;
  std::string text = "of " + megabytes(free.limit) + " that " + free.where + " has, " +
                     megabytes(free.bytes) + " are free; weights take " + megabytes(sum.files) +
                     ", scratch " + megabytes(scratch_bytes) + ", the reserve " +
                     megabytes(reserve);
  if (ordered_bytes > 0) text += ", GPTQ weights in order " + megabytes(ordered_bytes);
  if (sum.promised > 0) text += ", other models " + megabytes(sum.promised);
  const int64_t most = static_cast<int64_t>(free.bytes) - static_cast<int64_t>(own);
  return {std::move(lock), most - static_cast<int64_t>(sum.files + reserve), most, std::move(text)};
}

void MemoryShare::promise(uint64_t bytes, Room) { promised_ = bytes; }

// From half of the reserve on: so much that all of it is free again.
uint64_t MemoryShare::shortage() const {
  uint64_t files;
  {
    const std::lock_guard lock(shares().mutex);
    files = all().files;
  }
  const FreeMemory free = free_memory(groups_);
  const uint64_t reserve = reserve_of(free);
  return files + reserve / 2 > free.bytes ? files + reserve - free.bytes : 0;
}

}  // namespace tramontane
