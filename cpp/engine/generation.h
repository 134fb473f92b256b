// Continues a prompt: one token is drawn from each row of logits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/task.h"

namespace tramontane {

class Generation final : public Task {
 public:
  // Tokens it may be ahead of what was acknowledged, so that a reader who has stopped reading costs
  // nothing.
  static constexpr int32_t kMaxAhead = 8;

  // A reader who is only a moment late keeps the pages.
  static constexpr std::chrono::milliseconds kPatience{50};

  // `context`: most tokens of a sequence. `drawable`: bits of the tokens that may be drawn at all,
  // [ceil(vocabulary / 32)]; null: all.
  Generation(uint64_t id, GenerateRequest request, int32_t vocabulary, int32_t context,
             const uint32_t* drawable);

  void acknowledge(int32_t tokens) { ahead_ -= tokens; }

  bool wants(int32_t position) const override { return position == count() - 1; }
  int32_t first_wanted() const override { return count() - 1; }
  bool paused() const override { return ahead_ >= kMaxAhead; }
  bool gives_way() const override { return paused() && Clock::now() - newest_token_ >= kPatience; }
  bool describe(SampleRow* row, SampleResult* result) override;
  void read(Backend& backend, int32_t position, int32_t output,
            const SampleResult& sample) override;
  void take(std::vector<Event>* events) override;

 private:
  const uint32_t* mask();
  void set_no_token_left();
  void report_token(int32_t token, std::vector<Event>* events);

  Sampler sampler_;
  const std::unique_ptr<TokenConstraint> constraint_;
  const std::vector<int32_t> stop_tokens_;
  const int32_t vocabulary_, max_tokens_, context_, logprobs_;
  const uint32_t* const drawable_;
  int32_t ahead_ = 0;
  Clock::time_point newest_token_{};

  std::vector<uint32_t> mask_;
  std::vector<TokenLogit> top_;
  SampleResult drawn_{};  // Read and not taken yet, where it has a token.
};

}  // namespace tramontane
