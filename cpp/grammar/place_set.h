// A set of places that is emptied often.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "grammar/numbering.h"

namespace tramontane {

// Where in a grammar a text can be: a node, and the stack of the calls under way.
struct Place {
  int32_t node, stack;
  auto operator<=>(const Place&) const = default;
};

inline uint64_t hash_of(Place place) {
  return mix_hash(mix_hash(0, static_cast<uint32_t>(place.node)),
                  static_cast<uint32_t>(place.stack));
}

class PlaceSet {
 public:
  PlaceSet() : slots_(64) {}

  // False: it is there already.
  bool add(Place place) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    Slot& slot = find(place);
    if (slot.round == round_) return false;
    slot = {place, round_};
    ++count_;
    return true;
  }

  size_t size() const { return count_; }

  void clear() {
    count_ = 0;
    if (++round_ != 0) return;
    slots_.assign(slots_.size(), Slot{});
    round_ = 1;
  }

 private:
  struct Slot {
    Place place{};
    uint32_t round = 0;  // In which it was added.
  };

  Slot& find(Place place) {
    const size_t mask = slots_.size() - 1;
    size_t at = hash_of(place) & mask;
    while (slots_[at].round == round_ && slots_[at].place != place) at = (at + 1) & mask;
    return slots_[at];
  }

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.round == round_) find(slot.place) = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t count_ = 0;
  uint32_t round_ = 1;
};

}  // namespace tramontane
