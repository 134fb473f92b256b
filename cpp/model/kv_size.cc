#include "model/kv_size.h"

#include <algorithm>

#include "base/error.h"

namespace tramontane {
namespace {

constexpr int64_t kMostPages = (int64_t{1} << 30) / kPageTokens;

// `most` pages would be granted.
[[noreturn]] void refuse(const std::string& what, int64_t pages, int64_t most, const KvRoom& room) {
  const std::string tokens = std::to_string(std::max<int64_t>(most, 0) * kPageTokens);
  throw Error("OUT_OF_MEMORY", what + " needs " + std::to_string(pages * kPageTokens) +
                                   " tokens of KV cache, but only " + tokens + " fit: " + room.sum +
                                   ". Give more memory" +
                                   (most > 0 ? ", or take " + tokens + " at most" : "") +
                                   (room.advice.empty() ? "" : ", or " + room.advice));
}

}  // namespace

KvSize size_kv_cache(const KvRequest& request, int32_t window, int32_t max_step_tokens,
                     const KvRoom& room) {
  const SequenceLimits limits{window, request.context, max_step_tokens};
  const int32_t wanted_tokens = request.tokens > 0 ? request.tokens : request.context;
  const int64_t least_pages = pages_of(std::min(wanted_tokens, kLeastKvTokens));
  if (least_pages > room.most_pages) {
    refuse("even with its files out of memory the model", least_pages, room.most_pages, room);
  }
  const int64_t most = std::clamp<int64_t>(room.pages, least_pages, kMostPages);
  const std::string context_source = request.context_asked ? "option" : "file";

  if (request.tokens > 0) {
    const int32_t pages = pages_of(request.tokens);
    if (pages > most) {
      refuse("kvCacheTokens: " + std::to_string(request.tokens), pages, most, room);
    }
    return {request.context, pages, context_source, "option"};
  }

  const int64_t least = pages_needed(limits, request.context, 1);
  const int64_t sequence = pages_needed(limits, request.context, max_step_tokens);
  if (least > most) {
    if (request.context_asked) {
      refuse("contextSize: " + std::to_string(request.context), least, most, room);
    }
    const std::string source = "what fits: " + room.sum;
    return {static_cast<int32_t>(most * kPageTokens), static_cast<int32_t>(most), source, source};
  }
  const int64_t wanted = sequence * room.most_sequences;
  const int64_t shared = static_cast<int64_t>(static_cast<double>(most) * room.share);
  const int64_t pages = std::max(std::min(sequence, most), std::min(wanted, shared));
  const std::string source = pages == wanted
                                 ? std::to_string(room.most_sequences) + " full sequences"
                                 : "what fits: " + room.sum;
  return {request.context, static_cast<int32_t>(std::min(pages, kMostPages)), context_source,
          source};
}

}  // namespace tramontane
