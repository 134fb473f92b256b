// What a request is to the scheduler and to the steps it takes part in.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "engine/request.h"

namespace tramontane {

constexpr const char* kNotFinite =
    "the model's logits are not finite numbers: the file is damaged, or not what it says";

// A request on its way. It is a row of tokens whose keys and values are computed from the first on;
// after some of them the logits are wanted, and what becomes of these is the kind's own: a
// generation draws the next token, a score adds up or copies.
//
// A step goes in two halves. While the backend's step is open, read() takes what is needed of the
// logits and changes nothing that shows. When the step has ended well, take() makes it final and
// reports. A step that fails in between leaves the task as it was.
class Task {
 public:
  using Clock = std::chrono::steady_clock;

  Task(uint64_t id, int32_t priority, std::vector<int32_t> tokens, uint64_t cache_salt = 0,
       AdapterUse adapter = {})
      : id(id),
        priority(priority),
        adapter(std::move(adapter)),
        root(this->adapter.root(cache_salt)),
        prompt_length(static_cast<int32_t>(tokens.size())),
        tokens_(std::move(tokens)) {}
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  const uint64_t id;
  const int32_t priority;  // Higher ones are served first.
  const AdapterUse adapter;
  const PageKey root;  // Pages are shared with tasks of the same one alone.
  const int32_t prompt_length;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int32_t count() const { return static_cast<int32_t>(tokens_.size()); }

  // Whether the logits after the token at `position` are wanted.
  virtual bool wants(int32_t position) const = 0;
  // The first such position. What lies before it may come from the cache of pages.
  virtual int32_t first_wanted() const = 0;
  // Whether it goes on at all now: a generation whose reader has stopped reading does not.
  virtual bool paused() const { return false; }
  // Whether it has paused for so long that others may have its pages.
  virtual bool gives_way() const { return false; }
  // What was computed is computed again from the start.
  virtual void restart() {}

  // Fills in how a row of logits is sampled, and where the result goes. False: logits are read.
  virtual bool describe(SampleRow*, SampleResult*) { return false; }
  // The logits after the token at `position` are row `output` of the open step; `sample` is what
  // describe() asked for. Throws Error when the backend fails.
  virtual void read(Backend& backend, int32_t position, int32_t output,
                    const SampleResult& sample) = 0;
  // The step has ended well: what was read, if anything, is final.
  virtual void take(std::vector<Event>* events) = 0;
  // All its tokens have been computed, and the step's rows were taken.
  virtual void computed(std::vector<Event>*) {}

  // Reports the end. After it the scheduler drops the task.
  void end(Finish reason, std::vector<Event>* events);
  void fail(const char* code, const std::string& message, std::vector<Event>* events);
  bool ended() const { return ended_; }
  // Something is wrong with this request alone: take() will end it with this error.
  void set_problem(const char* code, std::string message);
  bool has_problem() const { return problem_code_ != nullptr; }

  // The first step it takes part in, and how many tokens of it were cached.
  void start(int32_t cached_tokens);

 protected:
  // What only some kinds know of their end.
  virtual void describe_end(Event*) const {}
  // Ends it with the error of set_problem(). False: there is none.
  bool fail_of_problem(std::vector<Event>* events);

  std::vector<int32_t> tokens_;  // The prompt and what was drawn.
  Clock::time_point first_token_{};

 private:
  bool started_ = false, ended_ = false;
  int32_t cached_tokens_ = 0;
  const char* problem_code_ = nullptr;
  std::string problem_;
  const Clock::time_point submitted_ = Clock::now();
  Clock::time_point first_step_{};
};

}  // namespace tramontane
