// How the tokens of one sequence are drawn: options, penalties, randomness. A backend draws them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace tramontane {

struct SamplingOptions {
  float temperature = 0.7f;  // 0: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1;           // 1: off
  float min_p = 0;           // 0: off
  uint64_t seed = 0;
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  std::vector<int32_t> bias_tokens;
  std::vector<float> bias_values;
};

// Restricts what may be drawn next. A speculative draw is accepted before it is certain, hence
// rollback().
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Bits of the tokens allowed next, [ceil(vocabulary / 32)]; valid until the next call.
  virtual const uint32_t* mask() = 0;
  virtual void accept(int32_t token) = 0;
  // Takes the last `tokens` accepted tokens back.
  virtual void rollback(int32_t tokens) = 0;
  // Nothing but an end may follow.
  virtual bool finished() { return false; }
  // What may follow, for the message where no token of the vocabulary does; empty: unknown.
  virtual std::string place() { return {}; }
};

// The same tokens are allowed at every step.
class AllowList final : public TokenConstraint {
 public:
  AllowList(const std::vector<int32_t>& tokens, int32_t vocabulary);
  const uint32_t* mask() override { return bits_.data(); }
  void accept(int32_t) override {}
  void rollback(int32_t) override {}

 private:
  std::vector<uint32_t> bits_;
};

class Sampler {
 public:
  // `prompt` counts for the repetition penalty.
  Sampler(SamplingOptions options, const std::vector<int32_t>& prompt, int32_t vocabulary);

  // How token number `index` of the output is drawn: everything of a SampleRow but `output`, `mask`
  // and `top`. Randomness is a function of (seed, index) alone. Pointers are valid until accept().
  void describe(uint64_t index, SampleRow* row) const;

  void accept(int32_t token);

 private:
  const SamplingOptions options_;
  const bool penalties_;
  std::vector<int32_t> seen_tokens_, seen_counts_;
  std::vector<int32_t>
      seen_index_;  // [vocabulary] index into seen_tokens_, or -1; with penalties only
};

// All of them depend on the two arguments alone.
uint64_t random_bits(uint64_t seed, uint64_t index);

}  // namespace tramontane
