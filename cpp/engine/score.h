// Reads logits: of some positions, or of all of them, for how probable a text is.
#pragma once

#include <vector>

#include "engine/task.h"

namespace tramontane {

class Score final : public Task {
 public:
  Score(uint64_t id, ScoreRequest request, int32_t vocabulary);

  bool wants(int32_t position) const override;
  int32_t first_wanted() const override;
  void restart() override;
  void read(Backend& backend, int32_t position, int32_t output,
            const SampleResult& sample) override;
  void take(std::vector<Event>* events) override;
  void computed(std::vector<Event>* events) override;

 private:
  void describe_end(Event* event) const override;

  const int32_t first_;  // Token of the likelihood.
  const std::vector<int32_t> positions_;
  float* const out_;  // Null: the likelihood.
  const int32_t vocabulary_;
  std::vector<float> logits_;  // [vocabulary], of one row.
  // Of tokens first_ to n-1, each given all before it. What was read is added row by row, so that
  // the sum is the same however the rows were shared out to steps.
  double negative_log_likelihood_ = 0;
  std::vector<double> read_;
};

}  // namespace tramontane
