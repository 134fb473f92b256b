// What is asked of the engine, and what it answers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "model/adapter.h"
#include "model/pages.h"

namespace tramontane {

// With which adapter a request's rows are computed.
struct AdapterUse {
  std::shared_ptr<const Adapter> adapter;  // Null: none.
  float scale = 1;

  int32_t id() const { return adapter ? adapter->id() : 0; }
  // Only prompts of the same one share keys.
  PageKey root(uint64_t cache_salt) const {
    return adapter ? PageKey::root(adapter->key(), scale, cache_salt) : PageKey::root(cache_salt);
  }
};

// Continue a prompt. Validated by the caller: at least one token, all in the vocabulary.
struct GenerateRequest {
  std::vector<int32_t> prompt;
  int32_t max_tokens;  // At least 1.
  SamplingOptions sampling;
  std::vector<int32_t> stop_tokens;  // End the generation; the last token of the output then.
  int32_t logprobs = -1;             // Best alternatives to report; -1: no log-probabilities.
  int32_t priority = 0;              // Higher ones are served first.
  uint64_t cache_salt = 0;           // Prompts share keys with those of the same one alone.
  AdapterUse adapter;
  std::unique_ptr<TokenConstraint> constraint;  // Null: everything is allowed.
};

// Logits, or how probable a text is. One of the two.
struct ScoreRequest {
  std::vector<int32_t> tokens;
  int32_t first = 1;               // Of the tokens, at least 1: the likelihood is of it and those
                                   // after it, each given all before.
  std::vector<int32_t> positions;  // Ascending, distinct; logits of these go to `out`.
  uint64_t cache_salt = 0;
  AdapterUse adapter;
  float* out = nullptr;  // [positions][vocabulary], kept alive by the caller until the end
                         // of the request is reported. Null: the likelihood.
};

enum class Finish : int32_t { kNone, kStop, kLength, kAborted, kScored, kFailed };

struct Timings {
  double queued_ms = 0;    // From submit to the first step.
  double prompt_ms = 0;    // From there to the first token.
  double generate_ms = 0;  // From there to the last.
};

// One token, or an end, or both. Tokens of a request come in order.
struct Event {
  uint64_t id = 0;
  int32_t token = -1;  // -1: none.
  float logprob = 0;
  std::vector<TokenLogit> top;  // Log-probabilities of the best alternatives.

  Finish finish = Finish::kNone;
  int32_t cached_tokens = 0;           // With an end: prompt tokens that the prefix cache held.
  Timings timings;                     // With an end.
  double negative_log_likelihood = 0;  // With kScored: the sum over tokens 1..n-1.
  const char* error_code = nullptr;    // With kFailed.
  std::string error_message;
};

}  // namespace tramontane
