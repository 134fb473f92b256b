// How large the KV cache and the context of a model are: what was asked for, or what fits.
#pragma once

#include <cstdint>
#include <string>

#include "model/sequence.h"

namespace tramontane {

struct KvRequest {
  int32_t tokens;      // Of the pool; 0: what fits.
  int32_t context;     // Most tokens of a sequence.
  bool context_asked;  // Otherwise `context` is the file's, and shrinks to what fits.
};

// The memory there is for pages.
struct KvRoom {
  int64_t pages;           // That fit; may be below 0.
  int64_t most_pages;      // The same where all that the system can drop is dropped.
  int32_t most_sequences;  // More full sequences than these are not wanted by default.
  double share;            // Of the room, for sequences beyond the first.
  std::string sum;         // How `pages` came about, for messages.
  std::string advice;      // An option that would make room, or empty.
};

struct KvSize {
  int32_t context, pages;
  // `option`, `file`, or what else decided.
  std::string context_source, pages_source;
};

// By default, one full sequence if it fits, and more in a share of the room; when not even one
// fits, the context shrinks to what does. A few hundred tokens take little beside any weights: they
// are refused only where nothing that can be dropped makes room for them. Throws Error
// OUT_OF_MEMORY, with the sum and what would fit, when what was asked for does not.
KvSize size_kv_cache(const KvRequest& request, int32_t window, int32_t max_step_tokens,
                     const KvRoom& room);

// A pool and context that may push mapped weights out of memory.
constexpr int32_t kLeastKvTokens = 512;

}  // namespace tramontane
