#include "engine/task.h"

namespace tramontane {
namespace {

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void Task::start(int32_t cached_tokens) {
  if (started_) return;
  started_ = true;
  cached_tokens_ = cached_tokens;
  first_step_ = Clock::now();
}

void Task::end(Finish reason, std::vector<Event>* events) {
  Event event;
  event.id = id;
  event.finish = reason;
  event.cached_tokens = cached_tokens_;
  const Clock::time_point now = Clock::now();
  const Clock::time_point first_step = started_ ? first_step_ : now;
  const Clock::time_point first_token = first_token_ != Clock::time_point{} ? first_token_ : now;
  event.timings = {milliseconds(first_step - submitted_), milliseconds(first_token - first_step),
                   milliseconds(now - first_token)};
  describe_end(&event);
  events->push_back(std::move(event));
  ended_ = true;
}

void Task::fail(const char* code, const std::string& message, std::vector<Event>* events) {
  end(Finish::kFailed, events);
  events->back().error_code = code;
  events->back().error_message = message;
}

void Task::set_problem(const char* code, std::string message) {
  problem_code_ = code;
  problem_ = std::move(message);
}

bool Task::fail_of_problem(std::vector<Event>* events) {
  if (problem_code_ == nullptr) return false;
  fail(problem_code_, problem_, events);
  return true;
}

}  // namespace tramontane
