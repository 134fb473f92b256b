// The storage of keys and values: pages of kPageTokens tokens, each with all layers and KV heads.
//
// Within a page, [layers][kv_heads] blocks of keys [head_size][kPageTokens] and then values
// [kPageTokens][head_size]. Keys are transposed so that a vector holds one component of several
// tokens: scores then need no horizontal sums, and with f16 a component of a page's 32 tokens
// fills a cache line.
#pragma once

#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "backend/rules.h"
#include "base/reserved_memory.h"

namespace tramontane::cpu {

class AttentionPages {
 public:
  // Throws std::bad_alloc when there is no room for the addresses.
  AttentionPages(const ModelShape& shape, KvType type, int32_t pages)
      : type_(type),
        kv_heads_(shape.kv_heads),
        block_bytes_(static_cast<size_t>(kPageTokens) * static_cast<size_t>(shape.head_size) *
                     (type == KvType::kF16 ? 2 : 4)),
        page_bytes_(static_cast<size_t>(page_bytes(shape, type))),
        committed_(static_cast<size_t>(pages)) {
    if (page_bytes_ > std::numeric_limits<size_t>::max() / 2 / static_cast<size_t>(pages)) {
      throw std::bad_alloc();
    }
    memory_ = ReservedMemory(page_bytes_ * static_cast<size_t>(pages));
    // Pages that are whole huge ones: what is discarded goes back, and none is half used.
    if (page_bytes_ % kHugePageBytes == 0) memory_.prefer_huge_pages();
  }

  int32_t pages() const { return static_cast<int32_t>(committed_.size()); }
  KvType type() const { return type_; }

  // Before the first use of a page. Throws std::bad_alloc.
  void commit(int32_t page) {
    if (committed_[page]) return;
    memory_.commit(page_bytes_ * static_cast<size_t>(page), page_bytes_);
    committed_[page] = true;
  }

  // The page's contents are lost; commit() it before its next use.
  void discard(int32_t page) {
    if (!committed_[page]) return;
    memory_.decommit(page_bytes_ * static_cast<size_t>(page), page_bytes_);
    committed_[page] = false;
  }

  void* keys(int32_t page, int32_t layer, int32_t kv_head) const {
    return memory_.data() + page_bytes_ * static_cast<size_t>(page) +
           2 * block_bytes_ *
               static_cast<size_t>(static_cast<int64_t>(layer) * kv_heads_ + kv_head);
  }
  void* values(int32_t page, int32_t layer, int32_t kv_head) const {
    return static_cast<uint8_t*>(keys(page, layer, kv_head)) + block_bytes_;
  }

 private:
  static constexpr size_t kHugePageBytes = size_t{2} << 20;

  KvType type_;
  int32_t kv_heads_;
  size_t block_bytes_, page_bytes_;
  std::vector<bool> committed_;
  ReservedMemory memory_;
};

}  // namespace tramontane::cpu
