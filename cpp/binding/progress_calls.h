// Tells a JavaScript function how far work on another thread is.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>

namespace tramontane::binding {

// No Error, which might be taken for a reason to try otherwise.
struct GivenUp : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class ProgressCalls {
 public:
  // On JavaScript's thread, as is the end.
  ProgressCalls(Napi::Env env, Napi::Function on_progress);
  ~ProgressCalls();
  ProgressCalls(const ProgressCalls&) = delete;
  ProgressCalls& operator=(const ProgressCalls&) = delete;

  // On the other thread, which does not wait: of reports that come faster than they are taken the
  // last one counts. Throws GivenUp once the function has thrown, which gives the work up.
  void report(double fraction);

  // On JavaScript's thread, after the work: makes the call that is still on its way.
  void finish() { call(*state_); }
  // On JavaScript's thread: what the function threw.
  const std::optional<Napi::Error>& thrown() const { return state_->thrown; }

 private:
  // Shared with the calls that are on their way.
  struct State {
    Napi::FunctionReference on_progress;
    std::optional<Napi::Error> thrown;
    std::atomic<double> fraction{0};
    std::atomic<bool> on_its_way{false}, given_up{false};
  };

  static void wake_up(napi_env env, napi_value, void* context, void*);
  static void call(State& state);
  static void finalize(napi_env, void*, void* context);

  const std::shared_ptr<State> state_;
  napi_threadsafe_function function_ = nullptr;
};

}  // namespace tramontane::binding
