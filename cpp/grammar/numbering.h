// A hash table of numbers: which of things that are kept elsewhere, in a vector, equals this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tramontane {

inline uint64_t mix_hash(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 32);
}

class Numbering {
 public:
  // The number of the thing with this hash for which equal(number) holds, or -1.
  template <typename Equal>
  int32_t find(uint64_t hash, const Equal& equal) const {
    if (slots_.empty()) return -1;
    for (size_t at = hash & mask();; at = (at + 1) & mask()) {
      const Slot& slot = slots_[at];
      if (slot.number < 0) return -1;
      if (slot.hash == static_cast<uint32_t>(hash >> 32) && equal(slot.number)) return slot.number;
    }
  }

  void add(uint64_t hash, int32_t number) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    put({static_cast<uint32_t>(hash >> 32), number, static_cast<uint32_t>(hash)});
    ++count_;
  }

  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t number = -1;
    uint32_t low = 0;  // The lower half of the hash, for growing.
  };

  size_t mask() const { return slots_.size() - 1; }

  void put(Slot slot) {
    size_t at = slot.low & mask();
    while (slots_[at].number >= 0) at = (at + 1) & mask();
    slots_[at] = slot;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 16 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.number >= 0) put(slot);
    }
  }

  std::vector<Slot> slots_;
  size_t count_ = 0;
};

}  // namespace tramontane
